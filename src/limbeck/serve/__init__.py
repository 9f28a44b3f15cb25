"""Serves indexes over HTTP: an API and a page (extra ``serve``)."""
