"""Puts ``tests/`` on the import path (pytest does, for a conftest's folder), so that tests can share builders."""
