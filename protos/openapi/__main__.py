"""Writes docs/openapi.json: the REST API, as the protos and the gateway have it.

Usage: python -m openapi CONTRACT OPENAPI_JSON <DESCRIPTOR_SET

The descriptor set has the source info, which holds the comments. CONTRACT is the directory of the
contract's examples. What has no description here ends this program in words that name the place.
"""

import json
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway_contract import PACKAGE, Unsupported, methods_of
from openapi.comments import comments_of
from openapi.document import Document
from openapi.examples import Examples


def main(contract: str, file: str) -> None:
    """Write the file anew."""
    content = sys.stdin.buffer.read()
    methods = methods_of(content)
    files = FileDescriptorSet.FromString(content).file
    comments = comments_of(each for each in files if each.package.startswith(PACKAGE))
    try:
        document = Document(methods, comments, Examples(Path(contract))).content()
    except Unsupported as error:
        sys.exit(f"openapi: {error}")
    text = json.dumps(document, indent=1, ensure_ascii=False)
    Path(file).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
