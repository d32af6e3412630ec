"""The repository pattern, and its tests with lightvec's pytest plugin.

    pytest examples/repository

``articles.py`` is what the rest of a program sees: articles, and a repository of them that needs an embedder.
``test_articles.py`` are its tests. ``conftest.py`` says which models they need; each test then has a new database.
"""
