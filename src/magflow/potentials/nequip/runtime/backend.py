"""The side of the NequIP families that runs beside nequip (:mod:`magflow.potentials.outside.launch`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compiling import FRAME, MODEL, Evaluator, compile_to, file_of, loaded
from curvature import Differentiated
from nequip import __version__ as nequip_version
from nequip.data import AtomicDataDict as Keys
from nequip.data import from_dict
from nequip.data._key_registry import register_fields
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from spin_network import MAGNETIC_FORCES, MagneticNequIPModel

SUPPORTED = {"nequip": "0.19.", "nequip-allegro": "0.8."}
"""Releases whose modules are known here."""
EXTENSIONS = {"nequip-allegro": "allegro"}
"""Extensions of nequip and what they are imported as."""
FIELDS = {"position": Keys.POSITIONS_KEY, "type": Keys.ATOM_TYPE_KEY, "moment": Keys.MAGMOM_KEY}
"""Arrays of atoms and what nequip calls them; forces and magnetic forces have one name."""
_PARAMETER = "parameter:"

register_fields(node_fields=[MAGNETIC_FORCES])


def versions(*needs: str) -> dict[str, str]:
    """Versions of what is installed, having imported what a training imports, and the extensions it `needs`."""
    import_module("nequip.scripts.train")
    found = _installed(*needs)
    for name in ("nequip", *needs):
        if not found[name].startswith(SUPPORTED[name]):
            sys.exit(f"{name} {found[name]} is installed, {SUPPORTED[name]}* is needed")
    return found


def _installed(*needs: str) -> dict[str, str]:
    """Versions of what is installed, and of the extensions that have to be."""
    found = {"nequip": nequip_version, "torch": torch.__version__}
    for name, module in EXTENSIONS.items():
        if name in needs or find_spec(module):
            found[name] = import_module(module).__version__
    return found


def train(arguments: list[str]) -> None:
    """Run ``nequip-train`` on ``input.yaml`` in the current directory."""
    from nequip.scripts.train import main

    Path("versions.json").write_text(json.dumps(versions()))
    here = ["-cp", str(Path.cwd()), "-cn", "input", "hydra.run.dir=.", "hydra.output_subdir=null"]
    sys.argv = ["nequip-train", *here, *arguments]
    main()


def finetune(arguments: list[str]) -> None:
    """Fine-tune a network in the current directory, as a file there says."""
    from finetune import run

    Path("versions.json").write_text(json.dumps(versions()))
    run(arguments)


def compile_model(arguments: list[str]) -> None:
    """Compile the model in the current directory for this machine; `arguments`: the start of the name of its file."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path("inductor").absolute())
    (prefix,) = arguments
    model = _network_of(_arrays(MODEL))  # and with it nequip's double precision of positions
    (frame,) = frames(_arrays(FRAME))
    compile_to(model, frame, file_of(prefix, _installed()))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def network(definition: Mapping[str, Any], seed: int, parameters: str | Mapping[str, np.ndarray] | None) -> Any:
    """A network of this definition, fresh by `seed`, or with given `parameters` (a file of them, or arrays).

    Only numbers are taken from a definition, each by its name: nequip's builders would run what others name.
    """
    set_global_state()
    sizes = {name: int(value) for name, value in definition["network"].items()}
    species = [str(s) for s in definition["species"]]
    options: dict[str, Any] = {
        "seed": seed,
        "model_dtype": str(definition["precision"]),
        "type_names": species,
        "r_max": float(definition["cutoff"]),
        "num_layers": sizes["layers"],
        "l_max": sizes["l_max"],
        "parity": False,
        "avg_num_neighbors": float(definition["neighbours"]),
        "per_type_energy_scales": float(definition["energy_scale"]),
        "per_type_energy_shifts": dict(zip(species, map(float, definition["energy_shifts"]), strict=True)),
    }
    if definition.get("architecture") == "allegro":
        model = _allegro(sizes, options)
    else:
        model = _message_passing(sizes, options, definition.get("moment_units"))
    if isinstance(parameters, str):
        parameters = _arrays(Path(parameters))
    if parameters is not None:
        _fill(model, parameters)
    return model


def _message_passing(sizes: Mapping[str, int], options: Mapping[str, Any], moment_units: Any) -> Any:
    """A NequIP, which reads moments if it knows their units."""
    own = {
        "num_features": sizes["features"],
        "radial_mlp_depth": 1,
        "radial_mlp_width": sizes["radial_neurons"],
        "num_bessels": sizes["radial_functions"],
    }
    if moment_units is None:
        return NequIPGNNModel(**options, **own)
    units = [float(m) for m in moment_units]
    return MagneticNequIPModel(moment_units=units, moment_functions=sizes["moment_functions"], **options, **own)


def _allegro(sizes: Mapping[str, int], options: Mapping[str, Any]) -> Any:
    """An Allegro (Musaelian et al., Nat. Commun. 14, 579 (2023)), each of whose networks has one hidden layer."""
    from allegro.model import AllegroModel

    embedding = {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": sizes["radial_functions"]}
    networks = ("scalar_embed", "allegro", "readout")
    return AllegroModel(
        radial_chemical_embed=embedding,
        num_scalar_features=sizes["features"],
        num_tensor_features=sizes["tensor_features"],
        **{f"{name}_mlp_hidden_layers_depth": 1 for name in networks},
        **{f"{name}_mlp_hidden_layers_width": sizes["neurons"] for name in networks},
        **options,
    )


def _fill(model: Any, parameters: Mapping[str, np.ndarray]) -> None:
    """Give `model` these parameters, which have to be all of its own, in its shapes."""
    own = dict(model.named_parameters())
    if set(own) != set(parameters):
        raise ValueError(f"parameters {sorted(set(own) ^ set(parameters))[:3]} are missing or unknown")
    with torch.no_grad():
        for name, values in parameters.items():
            if tuple(own[name].shape) != values.shape:
                raise ValueError(f"parameter {name} has shape {values.shape}, not {tuple(own[name].shape)}")
            own[name].copy_(torch.as_tensor(values))


def load(arrays: dict[str, np.ndarray]) -> Evaluator:
    """The network of a definition and its parameters, compiled if a file of it is there that begins as ``compiled``."""
    prefix, model = str(arrays["compiled"]), _network_of(arrays)
    return loaded(model, file_of(prefix, _installed())) if prefix else Evaluator(model, None)


def _network_of(arrays: Mapping[str, np.ndarray]) -> Any:
    named = {k.removeprefix(_PARAMETER): v for k, v in arrays.items() if k.startswith(_PARAMETER)}
    model = network(json.loads(str(arrays["definition"])), 0, named)
    return model.eval().requires_grad_(False)


def evaluate(model: Evaluator, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Energy (n,), stress (n, 3, 3), forces (sum N, 3), atomic_energy (sum N,) and maybe magnetic_forces (sum N,)."""
    parts = [_flat(out) for out in model(frames(arrays))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _flat(out: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What a network said, by the house's names."""
    names = {"energy": Keys.TOTAL_ENERGY_KEY, "stress": Keys.STRESS_KEY, "forces": Keys.FORCE_KEY}
    names |= {"atomic_energy": Keys.PER_ATOM_ENERGY_KEY, MAGNETIC_FORCES: MAGNETIC_FORCES}
    found = {name: out[key].detach().double().numpy() for name, key in names.items() if key in out}
    flat = ("energy", "atomic_energy", MAGNETIC_FORCES)
    return {name: values.reshape(-1) if name in flat else values for name, values in found.items()}


def products(model: Evaluator, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """``products`` (k, N, 4): the Hessian of the energy of one frame times each of ``vectors`` (k, N, 4)."""
    vectors = torch.as_tensor(arrays.pop("vectors"))
    model.network.train()  # keeps the graph of the forces; nothing else in the network asks for it
    try:
        slopes = Differentiated.of(model.network, Keys.batched_from_list(frames(arrays)))
        found = [slopes.times(vector).numpy() for vector in vectors]
    finally:
        model.network.eval()
    return {"products": np.array(found).reshape(vectors.shape)}


def frames(arrays: Mapping[str, np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """The frames of :func:`magflow.potentials.nequip.graph.graph`, labelled or not, as nequip has them."""
    found = []
    last, paired = np.cumsum(arrays["counts"]), np.cumsum(arrays["pairs"])
    for k, (atoms, pairs) in enumerate(zip(arrays["counts"], arrays["pairs"], strict=True)):
        mine, between = slice(last[k] - atoms, last[k]), slice(paired[k] - pairs, paired[k])
        frame = {
            Keys.CELL_KEY: arrays["cell"][k],
            Keys.PBC_KEY: (True, True, True),
            Keys.EDGE_INDEX_KEY: arrays["neighbours"][:, between],
            Keys.EDGE_CELL_SHIFT_KEY: arrays["shift"][between],
        }
        for name in (*FIELDS, Keys.FORCE_KEY, MAGNETIC_FORCES):
            if name in arrays:
                frame[FIELDS.get(name, name)] = arrays[name][mine]
        if "energy" in arrays:
            frame[Keys.TOTAL_ENERGY_KEY] = arrays["energy"][[k]]
            frame[Keys.STRESS_KEY] = arrays["stress"][[k]]
        found.append(from_dict(frame))
    return found


class Labels:
    """The labels in a file of flat arrays."""

    def __init__(self, path: str) -> None:
        self.frames = frames(_arrays(Path(path)))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return dict(self.frames[index])
