"""Writes an index as static files that search in a browser, without a server."""

from limbeck.site.content import SiteOptions
from limbeck.site.write import SiteReport, write_site

__all__ = ["SiteOptions", "SiteReport", "write_site"]
