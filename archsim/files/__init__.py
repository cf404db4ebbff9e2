"""The only room that opens user files, finds bundled ones and writes results.

`bundled` finds files by name, `reading` refuses what is too large or too deep, `writing` is all or nothing. Whoever
needs a file imports from here.
"""

from archsim.files.bundled import bundled_names, bundled_path, find, inside
from archsim.files.reading import (
    check_values,
    digest_of,
    digest_of_lines,
    open_binary,
    open_text_lines,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    read_toml,
)
from archsim.files.writing import (
    gzip_into,
    refuse_existing,
    replaced_file,
    write_atomically,
    write_gzip_atomically,
    written_directory,
)

__all__ = [
    "bundled_names", "bundled_path", "check_values", "digest_of", "digest_of_lines", "find", "gzip_into", "inside",
    "open_binary", "open_text_lines", "parse_json", "read_bytes", "read_json", "read_text", "read_toml",
    "refuse_existing", "replaced_file", "write_atomically", "write_gzip_atomically", "written_directory",
]  # fmt: skip
