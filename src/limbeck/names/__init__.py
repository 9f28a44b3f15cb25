r"""Resolution of names: from the names in a table or list to the names of existing files.

The rules, each tried only where the previous ones found nothing:

1. **path**: the name itself;
2. **separators**: the same path, with ``\`` as ``/`` and without ``./``, ``//`` and the root;
3. **form**: the same path except for its Unicode form (NFC or NFD) or blanks at the ends of the name;
4. **end**: one path is the end of the other, folders included (``cats/1.jpg``, ``images/cats/1.jpg``);
5. **file name**: alone, in another folder, where no other name of either side has it;
6. **no ending**: rules 3 to 5 without the suffix (``.jpg``), only where the caller asks for it.

No name gets two files, no file two names, and a named folder decides: ``val/1.jpg`` never gets
``train/1.jpg`` where ``val`` exists or ``train`` is named. `Resolved.unclear` holds names that fit several.
Blanks inside a name are part of it.
"""

from limbeck.names.paths import clean_path, is_text, name_form, roots_of, show, without_ending
from limbeck.names.resolve import Resolved, resolve

__all__ = ["Resolved", "clean_path", "is_text", "name_form", "resolve", "roots_of", "show", "without_ending"]
