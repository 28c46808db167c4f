#!/usr/bin/env python3
"""Writes what a package says about the crates that are compiled into its programs, and the modules in its dashboard.

Usage: notices.py COPYRIGHT SBOM MODULES, where MODULES is the node_modules that the dashboard was built from.

Appends a paragraph for each of them to COPYRIGHT (machine-readable, Debian's format 1.0) and the texts of their licences, and
writes SBOM (CycloneDX 1.5, JSON). Everything is read from what cargo and npm have fetched; where one may be had under one of
several licences, the first of ORDER is chosen. The same crates give the same bytes.
"""
import json
import pathlib
import re
import subprocess
import sys

# Where the paragraphs say that they are.
PLACES = {"cargo": "crates", "npm": "modules"}
PROGRAMS = {"assistantd", "assistantctl", "assistant-backup", "assistant-broker", "assistant-mail", "assistant-sandbox"}
# The licences under which crates are used, the most wanted first, and their names in Debian.
ORDER = {
    "Apache-2.0": "Apache-2.0",
    "MIT": "Expat",
    "BSD-3-Clause": "BSD-3-clause",
    "BSD-2-Clause": "BSD-2-clause",
    "ISC": "ISC",
    "Zlib": "Zlib",
    "Unicode-3.0": "Unicode-3.0",
    "CDLA-Permissive-2.0": "CDLA-Permissive-2.0",
    "0BSD": "0BSD",
    "MPL-2.0": "MPL-2.0",
}
# Licences whose text every Debian has, and what else they want to be said.
COMMON = {
    "MPL-2.0": "The full text is in /usr/share/common-licenses/MPL-2.0. These crates are used unchanged; their source is\n"
    "at https://crates.io/crates/NAME/VERSION, with the names and versions above.",
}
# A line of its own by which the text of a licence is known.
MARKS = {
    "MIT": "Permission is hereby granted, free of charge",
    "BSD-2-Clause": "Redistribution and use in source and binary forms",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "ISC": "Permission to use, copy, modify, and/or distribute",
    "Zlib": "This software is provided 'as-is'",
    "Unicode-3.0": "UNICODE LICENSE V3",
    "CDLA-Permissive-2.0": "Community Data License Agreement",
    "0BSD": "Permission to use, copy, modify, and/or distribute",
}


def crates():
    """The crates of other people that the programs are linked from, by name and version."""
    target = subprocess.run(["rustc", "--print", "host-tuple"], check=True, capture_output=True, text=True).stdout.strip()
    command = ["cargo", "metadata", "--locked", "--offline", "--all-features", "--format-version", "1", "--filter-platform", target]
    known = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    waiting = [one for one in known["workspace_members"] if packages[one]["name"] in PROGRAMS]
    seen = set(waiting)
    while waiting:
        for needed in nodes[waiting.pop()]["deps"]:
            linked = any(kind["kind"] is None for kind in needed["dep_kinds"])
            if linked and needed["pkg"] not in seen:
                seen.add(needed["pkg"])
                waiting.append(needed["pkg"])
    found = [packages[one] | {"from": "cargo"} for one in seen if packages[one]["source"]]
    return sorted(found, key=lambda crate: (crate["name"], crate["version"]))


def modules(directory):
    """The modules of other people that are in the dashboard, in the form of crates."""
    found = []
    waiting = list(json.loads(pathlib.Path("src/web/ui/package.json").read_text())["dependencies"])
    while waiting:
        manifest = directory / waiting.pop() / "package.json"
        said = json.loads(manifest.read_text())
        waiting += said.get("dependencies", {})
        named = {key: said[key] for key in ("name", "version", "license")}
        found.append(named | {"from": "npm", "authors": [], "manifest_path": manifest})
    return sorted(found, key=lambda module: module["name"])


def chosen(expression):
    """The licences under which a crate with this expression (SPDX) is used."""
    licences = []
    # The one crate that still names the older one comes with the text of version 3.
    expression = expression.replace("Unicode-DFS-2016", "Unicode-3.0")
    for part in re.split(r"\s+AND\s+", expression.replace("/", " OR ")):
        offered = [name.split(" WITH ")[0].strip("() ") for name in re.split(r"\s+OR\s+", part)]
        wanted = [name for name in ORDER if name in offered]
        if not wanted:
            sys.exit(f"notices: none of the licences of {expression!r} is in the list")
        licences.append(wanted[0])
    return sorted(set(licences), key=list(ORDER).index)


def texts(crate):
    """The files of a crate that say under which terms it may be used."""
    place = pathlib.Path(crate["manifest_path"]).parent
    named = re.compile(r"(licen[sc]e|copying|copyright|notice)", re.IGNORECASE)
    return [path.read_text(errors="replace") for path in sorted(place.iterdir()) if path.is_file() and named.match(path.name)]


def holders(crate, files):
    """Who holds the rights in a crate, as its files or its manifest say."""
    lines = [line.strip(" *#/") for text in files for line in text.splitlines()]
    said = [line for line in lines if re.match(r"copyright\s+(\(c\)|©|\d{4})", line, re.IGNORECASE) and "[yyyy]" not in line]
    said = [re.sub(r"^copyright\s+(\(c\)\s*|©\s*)?", "", line, flags=re.IGNORECASE) for line in said]
    return list(dict.fromkeys(said)) or crate["authors"] or [f"The authors of {crate['name']}"]


def indented(text):
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip("\n").splitlines())


def paragraphs(found):
    """Paragraphs for the crates, and after them one for each licence that nothing else explains."""
    written = []
    examples = {}
    for crate in found:
        files = texts(crate)
        licences = chosen(crate["license"])
        for licence in licences:
            for text in files:
                two = licence != "BSD-2-Clause" or "Neither the name" not in text
                if licence not in examples and two and MARKS.get(licence, "\0") in text:
                    examples[licence] = text
        names = " and ".join(ORDER[licence] for licence in licences)
        who = "\n           ".join(holders(crate, files))
        written.append(f"Files: {PLACES[crate['from']]}/{crate['name']}-{crate['version']}/*\nCopyright: {who}\nLicense: {names}\n")
    used = {licence for crate in found for licence in chosen(crate["license"])} - {"Apache-2.0"}
    for licence in sorted(used, key=list(ORDER).index):
        if licence in COMMON:
            written.append(f"License: {ORDER[licence]}\n{indented(COMMON[licence])}\n")
            continue
        if licence not in examples:
            sys.exit(f"notices: no crate comes with the text of {licence}")
        # The terms alone: who holds the rights stands with each crate.
        terms = examples[licence]
        if licence in ("MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "0BSD"):
            terms = terms[terms.index(MARKS[licence]):]
        written.append(f"License: {ORDER[licence]}\n{indented(terms)}\n")
    return written


def components(found):
    for crate in found:
        name, version = crate["name"], crate["version"]
        yield {
            "type": "library",
            "bom-ref": f"pkg:{crate['from']}/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:{crate['from']}/{name}@{version}",
            "licenses": [{"expression": crate["license"].replace("/", " OR ")}],
        }


def main():
    copyright_file, sbom_file, directory = map(pathlib.Path, sys.argv[1:])
    found = crates() + modules(directory)
    with copyright_file.open("a") as file:
        file.writelines("\n" + paragraph for paragraph in paragraphs(found))
    version = next(line.split('"')[1] for line in pathlib.Path("Cargo.toml").read_text().splitlines() if line.startswith("version"))
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "assistant", "version": version}},
        "components": list(components(found)),
    }
    sbom_file.write_text(json.dumps(sbom, indent=1) + "\n")


main()
