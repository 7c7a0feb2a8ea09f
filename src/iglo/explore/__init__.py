"""The page that shows a model in a browser: its server, and what the page asks for."""
