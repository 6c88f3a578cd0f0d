"""Read XML from strangers: no document type, so no entities, and errors that name file and element."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from .errors import DataError

Element = ElementTree.Element


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, the only place where entities can be declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DataError("has a document type (<!DOCTYPE>); annotation files need none")


def read_xml(path: Path, root: str) -> Element:
    """The root element of an XML file.

    Raises:
        DataError: The file cannot be read, is no XML, has a document type, or another root element.
    """
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        element: Element = ElementTree.parse(path, parser=parser).getroot()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})") from error
    if element.tag != root:
        raise DataError(f"{path}: its root element is <{element.tag}>; expected <{root}>")
    return element


def text_of(path: Path, element: Element, name: str, where: str) -> str:
    """The stripped text of a child element (or path of elements).

    Raises:
        DataError: There is none, or it is empty.
    """
    child = element.find(name)
    text = "" if child is None or child.text is None else child.text.strip()
    if not text:
        raise DataError(f"{path}: {where} has no <{name}>")
    return text


def number_of(path: Path, element: Element, name: str, where: str) -> float:
    """A child element's finite number.

    Raises:
        DataError: There is none, or it is no number.
    """
    return parse_number(path, text_of(path, element, name, where), f"{where}: <{name}>")


def parse_number(path: Path, text: str, what: str) -> float:
    """A finite number; DataError naming file and place if the text is none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{path}: {what} is {text!r}; expected a number")
    return number
