"""Writes docs/openapi.json and docs/grpc.md: the API, as the protos and the gateway have it.

Usage: python -m describe CONTRACT OPENAPI_JSON REFERENCE_MD <DESCRIPTOR_SET

The descriptor set has the source info, which holds the comments. CONTRACT is the directory of the
contract's examples. What has no description here ends this program in words that name the place.
"""

import json
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from describe.comments import comments_of
from describe.markdown import Reference
from describe.openapi.document import Document
from describe.openapi.examples import Examples
from gateway_contract import PACKAGE, Unsupported, methods_of


def main(contract: str, openapi: str, reference: str) -> None:
    """Write both files anew."""
    content = sys.stdin.buffer.read()
    methods = methods_of(content)
    files = FileDescriptorSet.FromString(content).file
    comments = comments_of(each for each in files if each.package.startswith(PACKAGE))
    try:
        document = Document(methods, comments, Examples(Path(contract))).content()
        text = Reference(methods, comments).text()
    except Unsupported as error:
        sys.exit(f"describe: {error}")
    described = json.dumps(document, indent=1, ensure_ascii=False)
    Path(openapi).write_text(described + "\n", encoding="utf-8")
    Path(reference).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
