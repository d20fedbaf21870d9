// Python bindings. Shapes are checked in the Python layer and again here where a wrong one would read out of bounds.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>

#include "arrays.hpp"
#include "design.hpp"
#include "frames.hpp"
#include "neighbours.hpp"
#include "packing.hpp"
#include "predict.hpp"
#include "spec.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using mmtp::Doubles, mmtp::Ints, mmtp::Longs, mmtp::Spec;
using mmtp::owned, mmtp::require, mmtp::values;

void bind_dynamics(nb::module_&);

namespace {

Spec make_spec(int n_types, int n_mu, int n_phi, int n_psi, double r_min, double cutoff, bool extend, std::vector<double> max_moment,
               Ints pairs, Ints basic, Ints mono, Ints times, Doubles mult, Ints scalar) {
    return mmtp::make_spec({n_types, n_mu, n_phi, n_psi, r_min, cutoff, extend, std::move(max_moment), values(pairs), values(basic),
                            values(mono), values(times), values(mult), values(scalar)});
}

mmtp::Geometry geometry(const Spec& s, const Ints& type, const Doubles& moment, const Ints& frame, std::int64_t n_frames,
                        const Longs& first, const Ints& neighbour, const Doubles& vector) {
    const std::int64_t n = std::int64_t(type.shape(0)), pairs = std::int64_t(neighbour.shape(0));
    require(std::int64_t(moment.shape(0)) == n && std::int64_t(frame.shape(0)) == n, "atom arrays differ in length");
    require(std::int64_t(first.shape(0)) == n + 1 && std::int64_t(vector.size()) == 3 * pairs, "pair arrays differ in length");
    require(first.data()[0] == 0 && first.data()[n] == pairs, "bad neighbour offsets");
    for (std::int64_t i = 0; i < n; ++i) {
        require(type.data()[i] >= 0 && type.data()[i] < s.n_types, "bad type");
        require(frame.data()[i] >= 0 && frame.data()[i] < n_frames, "bad frame");
        require(first.data()[i] <= first.data()[i + 1], "bad neighbour offsets");
    }
    for (std::int64_t k = 0; k < pairs; ++k) require(neighbour.data()[k] >= 0 && neighbour.data()[k] < n, "bad neighbour");
    return {n, n_frames, type.data(), moment.data(), frame.data(), first.data(), neighbour.data(), vector.data()};
}

mmtp::Parameters parameters(const Spec& s, const Doubles& p) {
    require(std::int64_t(p.size()) == s.n_parameters(), "wrong number of parameters");
    return {p.data(), p.data() + s.n_radial(), p.data() + s.n_radial() + s.n_scalar};
}

// Neighbours in lane order, with the engine they were laid out for.
struct Packed {
    mmtp::Packing packing;
    std::int64_t n_frames;
    std::vector<std::int32_t> frame;
    const mmtp::Engine& engine;

    mmtp::Lanes lanes() const { return packing.lanes(n_frames, frame.data()); }
};

mmtp::State state(const mmtp::Lanes& lanes, const Doubles& moment, const Doubles& vector, double sign) {
    require(std::int64_t(moment.size()) == lanes.n_atoms, "wrong number of moments");
    require(std::int64_t(vector.size()) == 3 * lanes.n_pairs, "wrong number of vectors");
    return {vector.data(), moment.data(), sign};
}

nb::dict evaluate(const Spec& s, Doubles p, const Packed& packed, Doubles moment, Doubles vector, double sign, bool gradients, bool basis) {
    const mmtp::Parameters q = parameters(s, p);
    const mmtp::Lanes lanes = packed.lanes();
    const mmtp::State where = state(lanes, moment, vector, sign);
    require(lanes.n_types == s.n_types, "neighbours of another number of species");
    const std::size_t n = lanes.n_atoms, frames = lanes.n_frames, width = s.n_scalar;
    std::vector<double> energy(n), gradient(gradients ? 4 * n : 0), virial(gradients ? 6 * frames : 0), values(basis ? n * width : 0);
    {
        nb::gil_scoped_release release;
        mmtp::evaluate(packed.engine, s, q, lanes, where,
                       {energy.data(), gradients ? gradient.data() : nullptr, virial.data(), basis ? values.data() : nullptr});
    }
    nb::dict result;
    result["energy"] = owned(std::move(energy), {n});
    if (gradients) {
        result["gradient"] = owned(std::move(gradient), {n, 4});
        result["virial"] = owned(std::move(virial), {frames, 6});
    }
    if (basis) result["basis"] = owned(std::move(values), {n, width});
    return result;
}

nb::ndarray<nb::numpy, double> hessian_products(const Spec& s, Doubles p, const Packed& packed, Doubles moment, Doubles vector, double sign,
                                                Doubles along) {
    const mmtp::Parameters q = parameters(s, p);
    const mmtp::Lanes lanes = packed.lanes();
    const mmtp::State where = state(lanes, moment, vector, sign);
    require(lanes.n_types == s.n_types, "neighbours of another number of species");
    const std::size_t n = lanes.n_atoms, count = along.ndim() == 3 ? along.shape(0) : 0;
    require(along.ndim() == 3 && along.size() == 4 * n * count, "vectors of another number of atoms");
    std::vector<double> out(along.size());
    {
        nb::gil_scoped_release release;
        mmtp::hessian_products(packed.engine, s, q, lanes, where, std::int64_t(count), along.data(), out.data());
    }
    return owned(std::move(out), {count, n, 4});
}

nb::ndarray<nb::numpy, double> parameter_gradient(const Spec& s, Doubles p, const Packed& packed, Doubles moment, Doubles vector, double sign,
                                                  Doubles energy, Doubles atom, Doubles strain) {
    const mmtp::Parameters q = parameters(s, p);
    const mmtp::Lanes lanes = packed.lanes();
    const mmtp::State where = state(lanes, moment, vector, sign);
    require(lanes.n_types == s.n_types, "neighbours of another number of species");
    require(std::int64_t(energy.size()) == lanes.n_frames && std::int64_t(strain.size()) == 6 * lanes.n_frames, "wrong number of frames");
    require(std::int64_t(atom.size()) == 4 * lanes.n_atoms, "wrong number of atoms");
    std::vector<double> out(s.n_parameters());
    {
        nb::gil_scoped_release release;
        mmtp::gradient(packed.engine, s, q, lanes, where, {energy.data(), atom.data(), strain.data()}, out.data());
    }
    const std::size_t n = out.size();
    return owned(std::move(out), {n});
}

// Atoms of all cells. Throws unless the arrays belong together.
std::int64_t atoms_of(const Longs& counts, const Doubles& positions, const Doubles& cells) {
    std::int64_t atoms = 0;
    for (std::size_t k = 0; k < counts.size(); ++k) {
        require(counts.data()[k] >= 0, "bad number of atoms");
        atoms += counts.data()[k];
    }
    require(cells.size() == 9 * counts.size(), "wrong number of cells");
    require(std::int64_t(positions.size()) == 3 * atoms && atoms < std::numeric_limits<std::int32_t>::max(), "wrong number of positions");
    return atoms;
}

// Neighbours of the atoms of many periodic cells, one after the other; shapes as magflow.potentials.mmtp.geometry has them.
nb::tuple neighbours(double cutoff, Longs counts, Doubles positions, Doubles cells) {
    const std::size_t n = counts.size();
    atoms_of(counts, positions, cells);
    mmtp::Pairs pairs;
    {
        nb::gil_scoped_release release;
        thread_local std::unique_ptr<mmtp::NeighbourSearch> search;  // what it works in is there at the next call
        if (!search || search->cutoff() != cutoff) search = std::make_unique<mmtp::NeighbourSearch>(cutoff, false);
        const double *position = positions.data(), *cell = cells.data();
        for (std::size_t k = 0; k < n; position += 3 * counts.data()[k], cell += 9, ++k) search->add(counts.data()[k], position, cell, pairs);
    }
    const std::size_t found = pairs.neighbour.size(), rows = pairs.first.size();
    const double closest = std::sqrt(pairs.closest2);
    return nb::make_tuple(owned(std::move(pairs.first), {rows}), owned(std::move(pairs.neighbour), {found}),
                          owned(std::move(pairs.vector), {found, 3}), owned(std::move(pairs.volume), {n}), closest);
}

// First frame of which a potential says an energy that is not finite; -1 if none.
std::int64_t not_finite(const std::vector<mmtp::Predicted>& said) {
    for (const mmtp::Predicted& of : said)
        for (std::size_t k = 0; k < of.energy.size(); ++k)
            if (!std::isfinite(of.energy[k])) return std::int64_t(k);
    return -1;
}

// What each of (spec, parameters, symmetrise) says of periodic cells: energy, forces, stress and forces along the moments, which
// are None unless wanted; the smallest distance; and the first frame whose energy is not finite, or -1.
nb::tuple predict(const nb::sequence& potentials, const mmtp::Frames& given, bool by_moment, const std::string& instruction_set) {
    const std::size_t n = given.type.size(), frames = given.count.size();
    require(n < std::size_t(std::numeric_limits<std::int32_t>::max()), "too many atoms");
    std::vector<mmtp::Evaluated> evaluated;
    std::vector<Doubles> held;
    for (nb::handle one : potentials) {
        const Spec& spec = nb::cast<const Spec&>(one[0]);
        held.push_back(nb::cast<Doubles>(one[1]));
        evaluated.push_back({&spec, parameters(spec, held.back()), nb::cast<bool>(one[2])});
    }
    require(!evaluated.empty(), "no potential");
    std::vector<std::vector<double>> forces, magnetic;
    std::vector<mmtp::Predicted> said;
    double closest = 0.0;
    {
        nb::gil_scoped_release release;
        mmtp::Predictor predictor(mmtp::engine(instruction_set), std::move(evaluated), by_moment);
        said = predictor.predict(given.cells());
        closest = predictor.closest();
        for (mmtp::Predicted& of : said) {
            for (std::size_t k = 0; k < of.virial.size(); ++k) of.virial[k] /= predictor.volumes()[k / 6];
            forces.emplace_back(3 * n);
            magnetic.emplace_back(by_moment ? 3 * n : 0);
            for (std::size_t i = 0; i < n; ++i) {
                for (int a = 0; a < 3; ++a) forces.back()[3 * i + a] = -of.gradient[4 * i + a];
                if (by_moment) magnetic.back()[3 * i + 2] = -of.gradient[4 * i + 3];
            }
        }
    }
    const std::int64_t failed = not_finite(said);
    nb::list out;
    for (std::size_t k = 0; k < said.size(); ++k) {
        nb::object along = by_moment ? nb::cast(owned(std::move(magnetic[k]), {n, 3})) : nb::none();
        out.append(nb::make_tuple(owned(std::move(said[k].energy), {frames}), owned(std::move(forces[k]), {n, 3}),
                                  owned(std::move(said[k].virial), {frames, 6}), along));
    }
    return nb::make_tuple(out, closest, failed);
}

}  // namespace

NB_MODULE(_kernel, m) {
    m.doc() = "Native kernels of the magnetic moment tensor potential.";

    nb::class_<Spec>(m, "Spec")
        .def_prop_ro("n_parameters", &Spec::n_parameters)
        .def_prop_ro("n_radial", &Spec::n_radial)
        .def_ro("n_types", &Spec::n_types)
        .def_ro("n_scalar", &Spec::n_scalar)
        .def_ro("n_moments", &Spec::n_moments);
    m.def("make_spec", &make_spec, nb::kw_only(), "n_types"_a, "n_mu"_a, "n_phi"_a, "n_psi"_a, "r_min"_a, "cutoff"_a, "extend"_a,
          "max_moment"_a, "pairs"_a, "basic"_a, "mono"_a, "times"_a, "mult"_a, "scalar"_a);
    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const auto* e : mmtp::engines()) names.emplace_back(e->name);
        return names;
    });
    m.def("neighbours", &neighbours, "cutoff"_a, "counts"_a, "positions"_a, "cells"_a);
    m.def("predict", &predict, "potentials"_a, "frames"_a, nb::kw_only(), "by_moment"_a, "instruction_set"_a = "");
    nb::class_<Packed>(m, "Packing")
        .def(
            "__init__",
            [](Packed* self, int n_types, std::int64_t n_frames, Ints type, Ints frame, Longs first, Ints neighbour, const std::string& name) {
                const std::int64_t n = std::int64_t(type.shape(0)), pairs = std::int64_t(neighbour.shape(0));
                require(std::int64_t(frame.shape(0)) == n, "atom arrays differ in length");
                require(std::int64_t(first.shape(0)) == n + 1 && first.data()[n] == pairs, "bad neighbour offsets");
                for (std::int64_t i = 0; i < n; ++i) {
                    require(type.data()[i] >= 0 && type.data()[i] < n_types, "bad type");
                    require(frame.data()[i] >= 0 && frame.data()[i] < n_frames, "bad frame");
                }
                const mmtp::Engine& e = mmtp::engine(name);
                nb::gil_scoped_release release;
                new (self) Packed{mmtp::Packing(e.lanes, n_types, n, type.data(), {0, n, first.data(), neighbour.data()}), n_frames,
                                  std::vector<std::int32_t>(frame.data(), frame.data() + n), e};
            },
            "n_types"_a, "n_frames"_a, "type"_a, "frame"_a, "first"_a, "neighbour"_a, "instruction_set"_a = "");
    m.def("evaluate", &evaluate, "spec"_a, "parameters"_a, "packing"_a, "moment"_a, "vector"_a, nb::kw_only(), "sign"_a = 1.0,
          "gradients"_a = true, "basis"_a = false);
    m.def("hessian_products", &hessian_products, "spec"_a, "parameters"_a, "packing"_a, "moment"_a, "vector"_a, "sign"_a, "along"_a);
    m.def("parameter_gradient", &parameter_gradient, "spec"_a, "parameters"_a, "packing"_a, "moment"_a, "vector"_a, "sign"_a, "energy"_a,
          "atom"_a, "strain"_a);

    nb::class_<mmtp::Design>(m, "Design")
        .def("__init__",
             [](mmtp::Design* self, const Spec& s, Ints type, Doubles moment, Ints frame, std::int64_t n_frames, Longs first,
                Ints neighbour, Doubles vector, std::int64_t byte_limit) {
                 const mmtp::Geometry g = geometry(s, type, moment, frame, n_frames, first, neighbour, vector);
                 std::vector<std::int64_t> begin(n_frames + 1, 0);
                 for (std::int64_t i = 0; i < g.n_atoms; ++i) ++begin[g.frame[i] + 1];
                 std::partial_sum(begin.begin(), begin.end(), begin.begin());
                 require(std::is_sorted(g.frame, g.frame + g.n_atoms), "atoms are not in the order of their frames");
                 nb::gil_scoped_release release;
                 new (self) mmtp::Design(s, g, std::move(begin), byte_limit);
             },
             "spec"_a, "type"_a, "moment"_a, "frame"_a, "n_frames"_a, "first"_a, "neighbour"_a, "vector"_a,
             "byte_limit"_a = std::int64_t(1) << 30)
        .def_prop_ro("stored", &mmtp::Design::stored)
        .def("row_begin", &mmtp::Design::row_begin)
        .def(
            "jacobian",
            [](const mmtp::Design& self, const Spec& s, Doubles p, std::int64_t begin, std::int64_t end, Doubles weight, bool derivatives) {
                const mmtp::Parameters q = parameters(s, p);
                require(0 <= begin && begin <= end && end <= self.n_frames(), "frames out of range");
                const std::int64_t n = self.row_begin(end) - self.row_begin(begin);
                require(std::int64_t(weight.size()) == n, "wrong number of weights");
                std::vector<double> values(n), jac(derivatives ? n * s.n_parameters() : 0);
                {
                    nb::gil_scoped_release release;
                    self.jacobian(q, begin, end, weight.data(), values.data(), derivatives ? jac.data() : nullptr);
                }
                return nb::make_tuple(owned(std::move(values), {std::size_t(n)}),
                                      owned(std::move(jac), {derivatives ? std::size_t(n) : 0, std::size_t(s.n_parameters())}));
            },
            "spec"_a, "parameters"_a, "begin"_a, "end"_a, "weight"_a, "derivatives"_a = true);
    bind_frames(m);
    bind_dynamics(m);
}
