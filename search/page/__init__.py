"""The page of a run: one HTML file that needs neither network nor server."""

from tf_autodropout.search.page.page import Page, page, write_page

__all__ = ["Page", "page", "write_page"]
