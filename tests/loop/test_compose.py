"""A configuration says what is wrong with it, where, and what to write instead."""

from pathlib import Path

import pytest
import yaml

from driftloop.loop.compose import ConfigError, build, file_schema, load
from driftloop.loop.trees import merge

TREE = {
    "name": "t",
    "world": {"kind": "targets"},
    "model": {"kind": "transformer"},
    "base": {"samples": 100, "retrain": {"kind": "supervised", "steps": 5}},
    "select": {"kind": "uniform"},
    "retrain": {"kind": "supervised", "steps": 5},
    "seeds": 1,
}


def written(folder: Path, tree: object = TREE) -> Path:
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loop.generation=3"], r"loop\.generation: unknown key; did you mean 'generations'"),
        (["lop.generations=3"], r"lop: unknown key; did you mean 'loop'"),
        (["select.strenght=1"], r"select\.strenght: unknown key"),
        (
            ["select.kind=quality", "select.strenght=1"],
            r"select\.strenght: unknown key; did you mean 'strength'",
        ),
        (["loop.generations=many"], r"loop\.generations: .*integer.*got 'many'"),
        (["loop.generations=0"], r"loop\.generations: .*greater than or equal to 1, got 0"),
        (["loop.keep=5000"], r"keep \(5000\) is larger than pool \(3000\); draw more or keep fewer"),
        (["select.kind=qouta"], r"select\.kind: there is no 'qouta'.*did you mean 'quota'"),
        (["loop.real_fraction=1.5"], r"real_fraction must lie between 0 and 1"),
        (["loop.real_fraction=[0.1]"], r"lists 1 shares for 6 generations"),
        (["select.kind=all"], r"loop\.keep is 1000 of 3000; set loop\.keep to loop\.pool"),
        (["seeds=[1,1]"], r"seeds must be distinct"),
        (["name=../up"], r"name: .*pattern"),
        (["loop.generations"], r"expected key\.path=value"),
        (["arms.a/b.select.kind=uniform"], r"arm name 'a/b' cannot be a folder name"),
        (["retrain.steps=-1"], r"retrain\.steps: .*greater than"),
    ],
)
def test_a_wrong_setting_is_named_with_its_way_out(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load([written(tmp_path)], overrides)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(ConfigError, match=r"no configuration file .*d\.yaml; did you mean .*c\.yaml"):
        load([tmp_path / "d.yaml"])


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load([tmp_path / "x.yaml"])


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"world: is required and missing"):
        load([written(tmp_path, {k: v for k, v in TREE.items() if k != "world"})])


def test_a_part_without_a_kind_is_told_where_the_kinds_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"world: the key `kind` is missing; `driftloop list`"):
        load([written(tmp_path, {**TREE, "world": {"limit": 60}})])


def test_files_compose_from_left_to_right_and_overrides_win(tmp_path: Path) -> None:
    first = written(tmp_path)
    second = tmp_path / "more.yaml"
    second.write_text("loop: {generations: 2, pool: 50, keep: 10}\nselect.kind: quality\n")

    arm = load([first, second], ["loop.keep=7"]).arms["default"]

    assert (arm.loop.generations, arm.loop.pool, arm.loop.keep, arm.select.kind) == (2, 50, 7, "quality")


def test_changing_the_kind_drops_the_old_kinds_settings() -> None:
    low = {"select": {"kind": "quality", "strength": 0.3}}

    assert merge(low, {"select": {"kind": "uniform"}}) == {"select": {"kind": "uniform"}}
    assert merge(low, {"select": {"strength": 0.4}}) == {"select": {"kind": "quality", "strength": 0.4}}


def test_arms_times_grid_are_complete_arms() -> None:
    config = build(
        {
            **TREE,
            "arms": {"a": {}, "b": {"select": {"kind": "verify"}}},
            "grid": {"sampling.temperature": [0.7, 1.0]},
        }
    )

    assert sorted(config.arms) == [f"{arm},sampling.temperature={t}" for arm in "ab" for t in (0.7, 1.0)]
    assert config.arms["b,sampling.temperature=0.7"].sampling.temperature == 0.7


def test_a_resolved_configuration_resolves_to_itself() -> None:
    config = build(
        {**TREE, "arms": {"a": {}, "b": {"select": {"kind": "quota", "levels": ["strategy", "mode"]}}}}
    )

    assert build(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_settings_can_change_on_the_way_but_not_the_world() -> None:
    arm = build(
        {**TREE, "changes": [{"at": 2, "set": {"select.kind": "verify", "sampling.temperature": 1.4}}]}
    ).arms["default"]

    assert [arm.at(t).select.kind for t in (0, 1, 2, 5)] == ["uniform", "uniform", "verify", "verify"]
    with pytest.raises(ConfigError, match="cannot change on the way"):
        build({**TREE, "changes": [{"at": 2, "set": {"world.limit": 50}}]})


def test_every_shipped_recipe_fits_the_schema_and_loads() -> None:
    recipes = sorted((Path(__file__).parents[2] / "runs").glob("*.yaml"))
    starter = Path(__file__).parents[2] / "loop" / "starter.yaml"
    keys = set(file_schema()["properties"])

    for recipe in [*recipes, starter]:
        assert load([recipe]).arms, recipe
        assert set(yaml.safe_load(recipe.read_text())) <= keys
