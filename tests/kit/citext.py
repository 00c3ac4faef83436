"""An extension named citext in plain SQL, for servers without extensions."""

from pathlib import Path

_COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_IO = "LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE"
_SQL = f"""
CREATE TYPE citext;
CREATE FUNCTION citextin(cstring) RETURNS citext {_IO} AS 'textin';
CREATE FUNCTION citextout(citext) RETURNS cstring {_IO} AS 'textout';
CREATE TYPE citext (INPUT = citextin, OUTPUT = citextout, STORAGE = extended, CATEGORY = 'S',
    COLLATABLE = true);
CREATE CAST (citext AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS citext) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION citext_cmp(citext, citext) RETURNS integer IMMUTABLE STRICT PARALLEL SAFE
    LANGUAGE sql AS 'SELECT bttextcmp(lower($1::text), lower($2::text))';
CREATE FUNCTION citext_hash(citext) RETURNS integer IMMUTABLE STRICT PARALLEL SAFE
    LANGUAGE sql AS 'SELECT hashtext(lower($1::text))';
"""


def write(folder: Path) -> None:
    """Write it for servers whose extension_control_path includes the folder."""
    place = folder / "extension"
    place.mkdir()
    (place / "citext.control").write_text("default_version = '1.0'\nrelocatable = true\n")
    operators = "".join(
        f"CREATE FUNCTION citext_{name}(citext, citext) RETURNS boolean IMMUTABLE STRICT PARALLEL"
        f" SAFE LANGUAGE sql AS 'SELECT citext_cmp($1, $2) {sign} 0';\n"
        f"CREATE OPERATOR {sign} (LEFTARG = citext, RIGHTARG = citext, FUNCTION = citext_{name}"
        f"{', HASHES, MERGES, COMMUTATOR = OPERATOR(=)' if sign == '=' else ''});\n"
        for name, sign in _COMPARISONS.items()
    )
    classes = """
CREATE OPERATOR CLASS citext_ops DEFAULT FOR TYPE citext USING btree AS OPERATOR 1 <,
    OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 citext_cmp(citext, citext);
CREATE OPERATOR CLASS citext_ops DEFAULT FOR TYPE citext USING hash AS OPERATOR 1 =,
    FUNCTION 1 citext_hash(citext);
"""
    (place / "citext--1.0.sql").write_text(_SQL + operators + classes)
    for path in (folder, place, *place.iterdir()):
        path.chmod(0o755)  # the server may run as another user
