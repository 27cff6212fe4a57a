"""All recipes by name."""

import fnmatch
from collections.abc import Sequence

from tf_autodropout.patterns.checks import invalid
from tf_autodropout.search.recipes import cifar10, few_labels, imagenet, language_models, translation
from tf_autodropout.search.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for family in (cifar10, imagenet, few_labels, language_models, translation)
    for recipe in family.RECIPES
}
TABLES = ("table1", "table2", "table3", "table4")


def find(name: str) -> Recipe:
    """Returns a recipe by name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in RECIPES:
        raise invalid("name", f"one of {', '.join(list(RECIPES)[:4])}, ... (`tf-autodropout recipes`)", name)
    return RECIPES[name]


def of_table(table: str, rows: Sequence[str] = ()) -> list[Recipe]:
    """Returns the recipes of a table, in its order.

    Args:
        table: One of `TABLES`.
        rows: Globs of names without the table, such as `cifar10/*`; none for all.

    Raises:
        ValueError: an unknown table, a glob that no row matches.
    """
    if table not in TABLES:
        raise invalid("table", f"one of {', '.join(TABLES)}", table)
    found = {name.partition("/")[2]: recipe for name, recipe in RECIPES.items() if name.startswith(f"{table}/")}
    for row in rows:
        if not fnmatch.filter(found, row):
            raise invalid("rows", f"names or globs of {', '.join(found)}", row)
    return [recipe for name, recipe in found.items() if not rows or any(fnmatch.fnmatchcase(name, row) for row in rows)]
