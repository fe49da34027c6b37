"""The registry through the stock clients: register, promote, load, copy, search, and MLflow 3's prompts."""

import json
import warnings

import pytest

both = pytest.mark.both


@pytest.fixture(scope="module")
def lines():
    """Two fitted models: y = 2x and y = 3x."""
    import numpy
    from sklearn.linear_model import LinearRegression

    x = numpy.array([[0.0], [1.0], [2.0]])
    return [LinearRegression(fit_intercept=False).fit(x, slope * x[:, 0]) for slope in (2.0, 3.0)]


@pytest.fixture
def log(tracking, name):
    """Logs a model in a run of its own; answers the run's id and what the client says of the model."""
    import sklearn

    tracking.set_experiment(name)

    def log(model, **fields):
        # Named, so that the client need not start a process of its own to find out.
        requirements = [f"scikit-learn=={sklearn.__version__}"]
        with tracking.start_run() as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = tracking.sklearn.log_model(model, "model", pip_requirements=requirements, **fields)
        return run.info.run_id, info

    return log


def slope(tracking, uri):
    """What the model behind a URI makes of 1."""
    import numpy

    return round(float(tracking.pyfunc.load_model(uri).predict(numpy.array([[1.0]]))[0]), 6)


def numbers(found):
    return [int(version.version) for version in found]


@both
def test_from_training_to_serving(tracking, client, log, lines, name):
    """Two trainings, one name; the alias decides who answers."""
    runs = [log(line, registered_model_name=name)[0] for line in lines]
    stored = [client.get_model_version(name, version) for version in ("1", "2")]
    assert [version.run_id for version in stored] == runs
    assert [version.status for version in stored] == ["READY"] * 2
    assert [version.current_stage for version in stored] == ["None"] * 2
    assert slope(tracking, f"models:/{name}/1") == 2
    assert slope(tracking, f"models:/{name}/2") == slope(tracking, f"models:/{name}/latest") == 3
    client.set_registered_model_alias(name, "champion", "1")
    assert slope(tracking, f"models:/{name}@champion") == 2
    client.set_registered_model_alias(name, "champion", "2")
    assert slope(tracking, f"models:/{name}@champion") == 3
    by_alias = client.get_model_version_by_alias(name, "champion")
    assert (int(by_alias.version), by_alias.aliases) == (2, ["champion"])
    assert [(alias, int(of)) for alias, of in client.get_registered_model(name).aliases.items()] == [("champion", 2)]
    client.transition_model_version_stage(name, "1", "Production")
    assert slope(tracking, f"models:/{name}/Production") == 2
    client.delete_registered_model_alias(name, "champion")
    assert client.get_registered_model(name).aliases == {}
    with pytest.raises(tracking.MlflowException) as refused:
        client.get_model_version_by_alias(name, "champion")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


@both
def test_register_a_model_of_a_run(tracking, client, log, lines, name):
    run, _ = log(lines[0])
    made = tracking.register_model(f"runs:/{run}/model", name, tags={"team": "vision"})
    assert (made.name, int(made.version), made.run_id, made.status) == (name, 1, run, "READY")
    assert client.get_model_version(name, "1").tags == {"team": "vision"}
    assert slope(tracking, f"models:/{name}/1") == 2
    # The second finds the registered model there.
    assert int(tracking.register_model(f"runs:/{run}/model", name).version) == 2
    # Without asking for the model to be made.
    source = f"{client.get_run(run).info.artifact_uri}/other"
    made = client.create_model_version(name, source, run_id=run, tags={"a": "1"}, description="d")
    assert (int(made.version), made.source, made.run_id, made.description) == (3, source, run, "d")
    assert made.tags == {"a": "1"}
    assert client.get_model_version_download_uri(name, "3") == source


def test_a_registered_model_is_a_logged_model(tracking, client, log, lines, name):
    """MLflow 3's client: the version comes from the logged model, which knows of it."""
    run, info = log(lines[0])
    for uri in (f"runs:/{run}/model", f"models:/{info.model_id}"):
        made = tracking.register_model(uri, name)
        assert (made.source, made.run_id) == (f"models:/{info.model_id}", run)
    logged = client.get_logged_model(info.model_id)
    assert client.get_model_version_download_uri(name, "2") == logged.artifact_location
    assert slope(tracking, f"models:/{name}/2") == 2
    # The client enters each version as well, with its number as text.
    known = {(entry["name"], int(entry["version"])) for entry in json.loads(logged.tags["mlflow.modelVersions"])}
    assert known == {(name, 1), (name, 2)}


def test_a_model_of_no_run(tracking, client, lines, name):
    """MLflow 3's client logs models outside runs as well."""
    import sklearn

    tracking.set_experiment(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = tracking.sklearn.log_model(
            lines[0],
            name="model",
            registered_model_name=name,
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    assert client.search_runs(client.get_experiment_by_name(name).experiment_id) == []
    stored = client.get_model_version(name, "1")
    assert not stored.run_id
    assert client.get_model_version_download_uri(name, "1") == client.get_logged_model(info.model_id).artifact_location
    assert slope(tracking, f"models:/{name}/1") == 2


@both
def test_copies(tracking, client, log, lines, name):
    run, _ = log(lines[1], registered_model_name=f"{name}-dev")
    copied = client.copy_model_version(f"models:/{name}-dev/1", f"{name}-prod")
    assert (copied.name, int(copied.version), copied.run_id) == (f"{name}-prod", 1, run)
    assert copied.source == f"models:/{name}-dev/1"
    assert client.get_model_version_download_uri(f"{name}-prod", "1") == client.get_model_version_download_uri(
        f"{name}-dev", "1"
    )
    assert slope(tracking, f"models:/{name}-prod/1") == 3
    again = client.copy_model_version(f"models:/{name}-prod/1", f"{name}-prod")
    assert int(again.version) == 2
    # A copy does not need what it was copied from.
    client.delete_registered_model(f"{name}-dev")
    assert slope(tracking, f"models:/{name}-prod/2") == 3


@both
def test_stages(tracking, client, name):
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, "s3://bucket/model")
    assert client.transition_model_version_stage(name, "1", "Production").current_stage == "Production"
    client.transition_model_version_stage(name, "2", "staging")
    moved = client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert (int(moved.version), moved.current_stage) == (2, "Production")
    latest = client.get_latest_versions(name)
    assert {version.current_stage: int(version.version) for version in latest} == {
        "None": 3,
        "Production": 2,
        "Archived": 1,
    }
    assert numbers(client.get_latest_versions(name, ["Production"])) == [2]
    assert client.get_latest_versions(name, ["Staging"]) == []
    assert sorted(numbers(client.get_registered_model(name).latest_versions)) == [1, 2, 3]
    with pytest.raises(tracking.MlflowException):
        client.transition_model_version_stage(name, "1", "Retired")


@both
def test_descriptions_and_tags(tracking, client, name):
    client.create_registered_model(name, tags={"a": "1"}, description="first")
    client.create_model_version(name, "s3://bucket/model", tags={"b": "1"}, description="one")
    assert client.get_registered_model(name).description == "first"
    assert client.update_registered_model(name, "second").description == "second"
    assert client.update_model_version(name, "1", "two").description == "two"
    assert client.get_model_version(name, "1").description == "two"
    client.update_registered_model(name, "")
    client.update_model_version(name, "1", "")
    assert not client.get_registered_model(name).description
    assert not client.get_model_version(name, "1").description
    client.set_registered_model_tag(name, "c", "2")
    client.delete_registered_model_tag(name, "a")
    assert client.get_registered_model(name).tags == {"c": "2"}
    client.set_model_version_tag(name, "1", "d", "3")
    client.delete_model_version_tag(name, "1", "b")
    assert client.get_model_version(name, "1").tags == {"d": "3"}


@both
def test_renaming_and_deleting(tracking, client, log, lines, name):
    log(lines[0], registered_model_name=name)
    client.set_registered_model_alias(name, "champion", "1")
    client.rename_registered_model(name, f"{name}-new")
    assert slope(tracking, f"models:/{name}-new@champion") == 2
    with pytest.raises(tracking.MlflowException) as gone:
        client.get_registered_model(name)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.create_model_version(f"{name}-new", "s3://bucket/model")
    client.delete_model_version(f"{name}-new", "2")
    with pytest.raises(tracking.MlflowException) as gone:
        client.get_model_version(f"{name}-new", "2")
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert int(client.create_model_version(f"{name}-new", "s3://bucket/model").version) == 3
    client.delete_registered_model(f"{name}-new")
    assert client.search_registered_models(f"name = '{name}-new'") == []
    with pytest.raises(tracking.MlflowException) as taken:
        client.create_registered_model(client.create_registered_model(name).name)
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"


@both
def test_searching(tracking, client, run, name):
    for index in range(5):
        client.create_registered_model(f"{name}-{index}", tags={"parity": "even" if index % 2 == 0 else "odd"})
        for _ in range(index):
            client.create_model_version(f"{name}-{index}", f"runs:/{run}/m{index}", run_id=run)

    def pages(search, text, size, **fields):
        found, token, count = [], None, 0
        while True:
            page = search(text, max_results=size, page_token=token, **fields)
            assert len(page) <= size
            found, token, count = found + list(page), page.token, count + 1
            if not token:
                return found, count

    mine = f"name LIKE '{name}%'"
    found, count = pages(client.search_registered_models, mine, 2)
    assert ([model.name[-1] for model in found], count) == (list("01234"), 3)
    found, _ = pages(client.search_registered_models, f"{mine} AND tags.parity = 'odd'", 1, order_by=["name DESC"])
    assert [model.name[-1] for model in found] == list("31")
    assert [model.name for model in client.search_registered_models(f"name ILIKE '{name.upper()}-4'")] == [f"{name}-4"]
    found, count = pages(client.search_model_versions, mine, 3, order_by=["name", "version_number ASC"])
    wanted = [(index, version + 1) for index in range(5) for version in range(index)]
    assert [(int(version.name[-1]), int(version.version)) for version in found] == wanted
    assert count == 4
    # The last changed come first.
    assert numbers(client.search_model_versions(f"name = '{name}-4'")) == [4, 3, 2, 1]
    by_run = client.search_model_versions(f"run_id = '{run}' AND source_path = 'runs:/{run}/m3'")
    assert sorted(numbers(by_run)) == [1, 2, 3]
    assert len(client.search_model_versions(f"run_id IN ('{run}')")) == 10
    assert [m.name for m in tracking.search_registered_models(filter_string=f"name = '{name}-1'")] == [f"{name}-1"]
    assert numbers(tracking.search_model_versions(filter_string=f"name = '{name}-1'")) == [1]


class TestPrompts:
    """MLflow 3.17's; they need no store of their own, the registry is enough."""

    def test_life(self, tracking, client, name):
        first = tracking.genai.register_prompt(name, "Hi {{who}}", commit_message="start", tags={"lang": "en"})
        assert (first.name, first.version, first.template) == (name, 1, "Hi {{who}}")
        second = tracking.genai.register_prompt(name, "Hello {{who}}!")
        assert second.version == 2
        stored = tracking.genai.load_prompt(name, version=1)
        assert stored.template == "Hi {{who}}"
        assert stored.commit_message == "start"
        assert stored.tags == {"lang": "en"}
        assert stored.variables == {"who"}
        assert stored.format(who="Ada") == "Hi Ada"
        assert tracking.genai.load_prompt(f"prompts:/{name}/2").template == "Hello {{who}}!"
        assert tracking.genai.load_prompt(f"prompts:/{name}@latest").version == 2
        assert tracking.genai.load_prompt(name).version == 2

    def test_aliases(self, tracking, client, name):
        for text in ("one", "two"):
            tracking.genai.register_prompt(name, text)
        tracking.genai.set_prompt_alias(name, "production", 1)
        assert tracking.genai.load_prompt(f"prompts:/{name}@production", cache_ttl_seconds=0).template == "one"
        tracking.genai.set_prompt_alias(name, "production", 2)
        assert tracking.genai.load_prompt(f"prompts:/{name}@production", cache_ttl_seconds=0).template == "two"
        assert client.get_prompt_version_by_alias(name, "production").version == 2
        assert client.get_prompt_version(name, "2").aliases == ["production"]
        tracking.genai.delete_prompt_alias(name, "production")
        with pytest.raises(tracking.MlflowException):
            tracking.genai.load_prompt(f"prompts:/{name}@production", cache_ttl_seconds=0)

    def test_search(self, tracking, client, name):
        for index in range(3):
            tracking.genai.register_prompt(f"{name}-{index}", "Hi", tags={"n": str(index)})
        client.create_registered_model(f"{name}-model")
        found = tracking.genai.search_prompts(f"name LIKE '{name}%'")
        assert [prompt.name for prompt in found] == [f"{name}-{index}" for index in range(3)]
        page = client.search_prompts(f"name LIKE '{name}%'", max_results=2)
        assert (len(page), bool(page.token)) == (2, True)
        rest = client.search_prompts(f"name LIKE '{name}%'", max_results=2, page_token=page.token)
        assert [prompt.name for prompt in rest] == [f"{name}-2"] and not rest.token
        client.set_prompt_tag(f"{name}-1", "team", "x")
        assert client.get_prompt(f"{name}-1").tags["team"] == "x"
        (one,) = client.search_prompts(f"name LIKE '{name}%' AND tags.team = 'x'")
        assert one.name == f"{name}-1"
        # The models' lists are without them.
        assert [m.name for m in client.search_registered_models(f"name LIKE '{name}%'")] == [f"{name}-model"]
        assert client.search_model_versions(f"name LIKE '{name}%'") == []

    def test_changing_and_deleting(self, tracking, client, name):
        for text in ("one", "two"):
            tracking.genai.register_prompt(name, text)
        client.set_prompt_version_tag(name, "1", "a", "1")
        assert client.get_prompt_version(name, "1").tags == {"a": "1"}
        client.delete_prompt_version_tag(name, "1", "a")
        assert client.get_prompt_version(name, "1").tags == {}
        client.delete_prompt_version(name, "1")
        with pytest.raises(tracking.MlflowException) as gone:
            client.get_prompt_version(name, "1")
        assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
        client.delete_prompt_version(name, "2")
        client.delete_prompt(name)
        assert client.get_prompt(name) is None

    def test_chat(self, tracking, name):
        messages = [{"role": "system", "content": "Be {{mood}}."}, {"role": "user", "content": "{{question}}"}]
        tracking.genai.register_prompt(name, messages, response_format={"type": "object"})
        stored = tracking.genai.load_prompt(name, version=1)
        assert stored.template == messages
        assert stored.response_format == {"type": "object"}
        assert stored.format(mood="brief", question="Why?")[1] == {"role": "user", "content": "Why?"}

    def test_one_name_for_a_model_or_a_prompt(self, tracking, client, name):
        client.create_registered_model(f"{name}-model")
        tracking.genai.register_prompt(f"{name}-prompt", "Hi")
        with pytest.raises(tracking.MlflowException):
            tracking.genai.register_prompt(f"{name}-model", "Hi")
        with pytest.raises(tracking.MlflowException) as taken:
            client.create_registered_model(f"{name}-prompt")
        assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
