"""Search methods behind one interface, by name."""

from tf_autodropout.search.searchers.base import Searcher
from tf_autodropout.search.searchers.random_search import RandomSearch
from tf_autodropout.search.searchers.reinforce import Reinforce

SEARCHERS: dict[str, type[RandomSearch] | type[Reinforce]] = {
    searcher.name: searcher for searcher in (Reinforce, RandomSearch)
}

__all__ = ["SEARCHERS", "RandomSearch", "Reinforce", "Searcher"]
