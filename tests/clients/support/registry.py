"""The model registry over raw requests: the few that nearly every test of it needs."""

from typing import Any

from .api import Api

REFUSED = (400, "INVALID_PARAMETER_VALUE")
TAKEN = (400, "RESOURCE_ALREADY_EXISTS")
UNKNOWN = (404, "RESOURCE_DOES_NOT_EXIST")
IS_PROMPT = "mlflow.prompt.is_prompt"
ANYWHERE = "s3://bucket/model"


def create_model(api: Api, name: str, **fields: Any) -> dict:
    return api.post("registered-models/create", {"name": name, **fields})["registered_model"]


def get_model(api: Api, name: str) -> dict:
    return api.get("registered-models/get", name=name)["registered_model"]


def create_version(api: Api, name: str, source: str = ANYWHERE, **fields: Any) -> dict:
    return api.post("model-versions/create", {"name": name, "source": source, **fields})["model_version"]


def get_version(api: Api, name: str, version: str | int) -> dict:
    return api.get("model-versions/get", name=name, version=version)["model_version"]


def download_uri(api: Api, name: str, version: str | int) -> str:
    return api.get("model-versions/get-download-uri", name=name, version=version)["artifact_uri"]


def transition(api: Api, name: str, version: str | int, stage: str, **fields: Any) -> dict:
    payload = {"name": name, "version": str(version), "stage": stage, **fields}
    return api.post("model-versions/transition-stage", payload)["model_version"]


def set_alias(api: Api, name: str, alias: str, version: str | int) -> None:
    api.post("registered-models/alias", name=name, alias=alias, version=str(version))


def by_alias(api: Api, name: str, alias: str) -> dict:
    return api.get("registered-models/alias", name=name, alias=alias)["model_version"]


def delete_version(api: Api, name: str, version: str | int) -> None:
    api.delete("model-versions/delete", name=name, version=str(version))


def history(api: Api, name: str) -> list[dict]:
    return api.get("/api/runlake/registry/history", name=name)["events"]


def search_models(api: Api, **query: Any) -> list[dict]:
    """All pages of a search of registered models."""
    return _pages(api, "registered-models/search", "registered_models", query)


def search_versions(api: Api, **query: Any) -> list[dict]:
    """All pages of a search of versions."""
    return _pages(api, "model-versions/search", "model_versions", query)


def _pages(api: Api, path: str, entries: str, query: dict[str, Any]) -> list[dict]:
    found, token = [], None
    for _ in range(10_000):
        page = api.get(path, **query, **({"page_token": token} if token else {}))
        entries_of_page = page.get(entries, [])
        limit = query.get("max_results")
        assert limit is None or len(entries_of_page) <= limit, "more than were asked for"
        found += entries_of_page
        token = page.get("next_page_token")
        if not token:
            return found
    raise AssertionError("the search never ends")
