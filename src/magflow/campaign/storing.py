"""Where a campaign is kept, as its file says: MongoDB, or stores of maggma. No credentials, and known classes only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from magflow.campaign.base import Section, problem
from magflow.core.masking import mask

STORES = (
    *("MongoStore", "MongoURIStore", "GridFSStore", "GridFSURIStore", "S3Store", "AzureBlobStore"),
    *("JSONStore", "MemoryStore"),
)
"""Classes of maggma that a campaign file may name. Files come from others: every other class, some of which read
credentials or start programs when they are built, is for whoever writes Python."""


class MongoSpec(Section):
    """A MongoDB server. User and password never stand in a campaign file; see `uri`."""

    uri: str | None = Field(
        None,
        description="mongodb://HOST:PORT/DATABASE, without user and password. Left out: MAGFLOW_MONGO_URI of the "
        "environment, or mongo_uri of ~/.magflow.yaml, which may hold them.",
    )
    database: str | None = Field(None, min_length=1, description="Left out: the one the URI names, or magflow.")
    collection: str = Field(
        "magflow", pattern=r"^[A-Za-z_][\w.-]*$", description="Documents; arrays go to GridFS, <collection>_blobs."
    )
    options: dict[str, str | int | bool] = Field(
        default_factory=dict,
        description="Of the connection, as pymongo names them: tls, tlsCAFile, tlsCertificateKeyFile, replicaSet, ...",
    )
    patience: float = Field(900.0, ge=0, description="Seconds that a database which has gone away is waited for.")


class StoreSpec(Section):
    """Another store than the embedded one: MongoDB, or any maggma stores as in jobflow's own jobflow.yaml."""

    mongodb: MongoSpec | None = Field(None, description="A MongoDB server; `mongodb: {}` takes that of the settings.")
    docs_store: dict[str, Any] | None = Field(
        None, description="`type` of a maggma store and its arguments: documents."
    )
    additional_stores: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="The same for large data; one of them has to be named data."
    )

    @model_validator(mode="after")
    def _plain(self) -> StoreSpec:
        if (self.mongodb is None) == (self.docs_store is None):
            raise problem("either mongodb, or docs_store and additional_stores", seen="neither or both")
        secrets = json.dumps(self.model_dump(mode="json"))
        if mask(secrets) != secrets:
            raise problem(
                "no user and no password in a campaign file",
                seen="one of them",
                hint="set MAGFLOW_MONGO_URI, or mongo_uri in ~/.magflow.yaml (mode 0600)",
            )
        if self.docs_store is None:
            return self
        named = {"docs_store": self.docs_store} | {
            f"additional_stores.{k}": v for k, v in self.additional_stores.items()
        }
        for name, store in named.items():
            if not isinstance(store.get("type"), str) or any(key.startswith("@") for key in store):
                raise problem("`type` and arguments of a maggma store", seen=f"{name}: {', '.join(store) or 'nothing'}")
        if foreign := sorted({kind for store in named.values() for kind in _types_in(store)}.difference(STORES)):
            raise problem(f"one of {', '.join(STORES)} as the type of a store", seen=", ".join(foreign))
        if "data" not in self.additional_stores:
            raise problem("an additional store named data", seen=", ".join(self.additional_stores) or "none")
        return self

    def description(self) -> dict[str, Any]:
        """What :func:`magflow.stores.jobstore.job_store_from_settings` takes."""
        if self.mongodb is not None:
            return {"mongodb": self.mongodb.model_dump()}
        return {"docs_store": self.docs_store, "additional_stores": self.additional_stores}


def _types_in(store: Any) -> Iterator[str]:
    """The `type` of a store, and those of the stores among its arguments."""
    if isinstance(store, Mapping):
        if "type" in store:
            yield str(store["type"])
        store = list(store.values())
    if isinstance(store, list):
        for value in store:
            yield from _types_in(value)
