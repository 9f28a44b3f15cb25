"""The documentation site: pages made from the code, and the pictures of the explanations.

``make docs`` builds it with MkDocs; ``python -m guide`` draws the pictures again.
"""
