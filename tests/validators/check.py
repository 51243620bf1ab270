"""Judges files by schemas: check.py {sarif FOLDER|junit FOLDER|json SCHEMA} FILE.

The folder is what `install` prints. Ends with 0 where the file is valid; otherwise says what isn't, and ends with 1.
"""

import json
import pathlib
import sys

def json_errors(schema, path):
    import jsonschema

    document = json.loads(path.read_bytes().decode("utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    checker = kind(schema, format_checker=kind.FORMAT_CHECKER)
    for error in checker.iter_errors(document):
        yield f"{error.json_path}: {error.message}"


def xml_errors(folder, path):
    import xmlschema

    schema = xmlschema.XMLSchema(str(pathlib.Path(folder) / "junit.xsd"))
    for error in schema.iter_errors(str(path)):
        yield f"{error.path}: {error.reason}"


def main(arguments):
    match arguments:
        case ["sarif", folder, file]:
            schema = json.loads((pathlib.Path(folder) / "sarif.json").read_text())
            errors = json_errors(schema, pathlib.Path(file))
        case ["json", schema, file]:
            schema = json.loads(pathlib.Path(schema).read_text())
            errors = json_errors(schema, pathlib.Path(file))
        case ["junit", folder, file]:
            errors = xml_errors(folder, pathlib.Path(file))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    errors = list(errors)
    for error in errors[:20]:
        print(error)
    return 1 if errors else 0


sys.exit(main(sys.argv[1:]))
