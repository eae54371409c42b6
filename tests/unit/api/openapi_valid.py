#!/usr/bin/python3
"""The OpenAPI document through openapi-spec-validator: exit code 77 where that is not installed."""
import json
import subprocess
import sys


def main():
    try:
        import openapi_spec_validator
    except ImportError:
        print("skipped: the Python package openapi-spec-validator is not installed")
        return 77
    document = json.loads(subprocess.run([sys.argv[1]], check=True, stdout=subprocess.PIPE).stdout)
    check = getattr(openapi_spec_validator, "validate", None) or openapi_spec_validator.validate_spec
    check(document)
    # The same validator must see a document that is wrong.
    del document["paths"]["/v1/sandboxes/{id}"]["get"]["parameters"]
    try:
        check(document)
    except Exception as refusal:  # its base class has had several names
        print(f"{len(document['paths'])} paths are valid; without the parameter of a path: {type(refusal).__name__}")
        return 0
    print("the validator takes a path without its parameter: it checks nothing")
    return 1


if __name__ == "__main__":
    sys.exit(main())
