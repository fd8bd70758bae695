"""How a published and a rebuilt file differ, in words: one module for each kind of file, `files` chooses. Pure."""
