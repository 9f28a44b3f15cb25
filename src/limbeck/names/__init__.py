"""Names found again: one resolver from the names that a table or list gives to the names that are there.

The rules, each tried only where those before it found nothing:

1. **path**: the name itself;
2. **separators**: the same path, once ``\\`` is ``/``, ``./`` and ``//`` are gone and the root is taken off;
3. **form**: the same path but for its Unicode form (NFC or NFD) or blanks at the ends of the name;
4. **end**: one path is the end of the other, folders included (``cats/1.jpg``, ``images/cats/1.jpg``);
5. **file name**: alone, in another folder, where no other name of either side has it;
6. **no ending**: rules 3 to 5 without the ending (``.jpg``), only where the caller asks for it.

No name gets two files, no file two names, and a folder that is named decides: ``val/1.jpg`` never gets
``train/1.jpg`` where ``val`` is there or ``train`` is asked for. What fits several is `Resolved.unclear`.
Blanks inside a name are part of it.
"""

from limbeck.names.paths import clean_path, is_text, name_form, roots_of, show, without_ending
from limbeck.names.resolve import Resolved, resolve

__all__ = ["Resolved", "clean_path", "is_text", "name_form", "resolve", "roots_of", "show", "without_ending"]
