#!/usr/bin/env python3
"""Checks a bundle of a Graven log: python3 verify.py --vkey KEY [DIRECTORY]

Needs Python 3.8 or later and nothing else. KEY is the log's verifier key, which you got by another way than this
bundle: nothing in a bundle can vouch for it. Give --vkey more than once if you trust several keys.

Exit code 0: every event is in the log with the content shown here, and none is missing from what was exported.
Exit code 1: something is wrong, and the output says what and where. Exit code 2: wrong usage.

What is checked, in this order: every file against the manifest; every hash of the tree against the root in the
checkpoint; who signed the checkpoint; every event against its leaf, and every leaf against the tree; the hash chains of
the log and of each stream; that nothing is missing; the proofs of single events and of the range. Witnesses and
timestamps are not checked here: `graven audit check` and `openssl ts` do that.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import sys

FORMAT = "graven-bundle/v1"
FILE_BYTES_MAX = 64 << 20
FILES_MAX = 300_000
TOMBSTONE_VERSION = 2**63 - 1
NO_TIME = -(2**63)
LAYERS = ["payload", "metadata", "leaf", "chain", "tile", "root", "map", "checkpoint", "outside"]
LAYER = {
    "PAYLOAD_MISMATCH": "payload",
    "PAYLOAD_MISSING_UNAUTHORISED": "payload",
    "ERASED_BUT_PRESENT": "payload",
    "META_MISMATCH": "metadata",
    "LEAF_MALFORMED": "leaf",
    "POSITION_MISMATCH": "leaf",
    "LEAF_HASH_MISMATCH": "leaf",
    "STREAM_VERSION_GAP": "chain",
    "PREV_STREAM_MISMATCH": "chain",
    "PREV_GLOBAL_MISMATCH": "chain",
    "TILE_MISMATCH": "tile",
    "ROOT_MISMATCH": "root",
    "MAP_ROOT_MISMATCH": "map",
    "STREAM_INCOMPLETE": "map",
    "CHECKPOINT_SIGNATURE_INVALID": "checkpoint",
    "KEY_UNKNOWN": "checkpoint",
    "KEY_OUT_OF_RANGE": "checkpoint",
    "PROOF_INVALID": "outside",
    "BUNDLE_FILE_MISMATCH": "outside",
    "BUNDLE_MALFORMED": "outside",
}


class Finding(Exception):
    """Something that is wrong. Raised where the check cannot go on, collected where it can."""

    def __init__(self, code, expected, found, position=None, tile=None):
        super().__init__(code)
        self.code, self.expected, self.found, self.position, self.tile = code, expected, found, position, tile

    def rank(self):
        """The smallest position counts, and there the lowest layer: what lies above follows from it. A hash of the tree
        stands at the last leaf under it."""
        place = self.position
        if place is None and self.tile is not None:
            place = (self.tile[1] + 1 << 8 * self.tile[0]) - 1
        return (2**64 if place is None else place, LAYERS.index(LAYER[self.code]))

    def __str__(self):
        place = "" if self.position is None else " at position %d" % self.position
        if self.tile is not None:
            place += " in hash %d of tile level %d" % (self.tile[1], self.tile[0])
        return "%s%s: expected %s; found %s" % (self.code, place, self.expected, self.found)


def malformed(path, expected):
    return Finding("BUNDLE_MALFORMED", "%s in %s" % (expected, path), "something else")


# ---------------------------------------------------------------- bytes and texts


def sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def big(number, length):
    return number.to_bytes(length, "big")


def unhex(text, length=None):
    """The bytes of lower-case hexadecimal digits, or None."""
    if not isinstance(text, str) or len(text) % 2 or not re.fullmatch("[0-9a-f]*", text):
        return None
    found = bytes.fromhex(text)
    return found if length in (None, len(found)) else None


def unbase64(text):
    """The bytes of base64 in its one right spelling, or None."""
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return None
    return found if base64.b64encode(found).decode() == text else None


def decimal(text):
    """A number without sign and leading zeroes, below 2^64, or None."""
    if not re.fullmatch("0|[1-9][0-9]{0,19}", text, re.ASCII) or int(text) >= 2**64:
        return None
    return int(text)


def unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field that stands there twice")
    return found


def parse_json(path, data, form, optional=None):
    """A JSON object with these fields, whose types are as `form` says, and none but these."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise malformed(path, "JSON (%s)" % error) from None
    return fields(path, found, form, optional or {})


def fields(path, found, form, optional):
    if not isinstance(found, dict):
        raise malformed(path, "an object")
    found = {name: value for name, value in found.items() if value is not None or name in form}
    for name, value in found.items():
        kind = form.get(name, optional.get(name))
        if kind is None:
            raise malformed(path, "no field %r" % name)
        low, high = {"u64": (0, 2**64), "u32": (0, 2**32), "i64": (-(2**63), 2**63)}.get(kind, (0, 0))
        if isinstance(kind, str):
            fits = type(value) is int and low <= value < high
        else:
            fits = type(value) is kind
        if not fits:
            raise malformed(path, "the field %r of another form" % name)
    for name in form:
        if name not in found:
            raise malformed(path, "the field %r" % name)
    return found


def lines(path, data):
    if data and not data.endswith(b"\n"):
        raise malformed(path, "a line feed at the end of every line")
    return data.split(b"\n")[:-1]


# ---------------------------------------------------------------- Ed25519 (RFC 8032), to verify only

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def point_add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_mul(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        number >>= 1
    return result


def point_encode(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def point_decode(data):
    """The point with this encoding; None if there is none, or if it is of small order."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    point = (x, y, 1, x * y % P)
    return None if point_encode(point_mul(8, point)) == point_encode((0, 1, 1, 0)) else point


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = point_decode(BASE_Y.to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    if len(signature) != 64:
        return False
    key, nonce = point_decode(public), point_decode(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or scalar >= L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    negative = (P - key[0], key[1], key[2], P - key[3])
    return point_encode(point_add(point_mul(scalar, BASE), point_mul(challenge, negative))) == signature[:32]


# ---------------------------------------------------------------- keys and checkpoints (C2SP signed-note)


def parse_vkey(text):
    """Name, id and public key of `name+id+base64(0x01, key)`; None if it is no such key."""
    parts = text.split("+", 2)
    data = unbase64(parts[2]) if len(parts) == 3 else None
    if data is None or len(data) != 33 or data[0] != 1 or not parts[0] or re.search(r"\s", parts[0]):
        return None
    if unhex(parts[1], 4) != sha256(parts[0].encode(), b"\n", data)[:4] or point_decode(data[1:]) is None:
        return None
    return (parts[0], bytes.fromhex(parts[1]), data[1:])


class Checkpoint:
    def __init__(self, data):
        def refuse(what):
            return Finding("CHECKPOINT_SIGNATURE_INVALID", "a checkpoint", what)

        try:
            whole = data.decode("utf-8")
        except ValueError:
            raise refuse("no UTF-8") from None
        if any(symbol < " " and symbol != "\n" for symbol in whole):
            raise refuse("control characters")
        split = whole.rfind("\n\n")
        if split < 0 or not whole.endswith("\n") or split + 2 == len(whole):
            raise refuse("no signatures")
        self.data, self.text = data, whole[: split + 1]
        texts = self.text.split("\n")
        if len(texts) != 4 or "" in texts[:3]:
            raise refuse("other than three lines")
        self.origin, self.size, self.root = texts[0], decimal(texts[1]), unbase64(texts[2])
        if self.size is None or self.root is None or len(self.root) != 32:
            raise refuse("no size and root")
        self.signatures = []
        for line in whole[split + 2 : -1].split("\n"):
            match = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)", line)
            signature = unbase64(match.group(2)) if match else None
            if signature is None or len(signature) < 5:
                raise refuse("a line that is no signature")
            self.signatures.append((match.group(1), signature[:4], signature[4:]))

    def signed_by(self, keys):
        """Whether one of the keys signed. A signature that claims to be of one and is not ends the check."""
        signed = False
        for name, key_id, signature in self.signatures:
            for key in keys:
                if key[:2] == (name, key_id):
                    if not ed25519_verify(key[2], self.text.encode(), signature):
                        raise Finding("CHECKPOINT_SIGNATURE_INVALID", "a signature of %s" % name, "another one")
                    signed = signed or name == self.origin
        return signed


# ---------------------------------------------------------------- Merkle tree (RFC 6962) and tiles (C2SP tlog-tiles)


def leaf_hash(leaf):
    return sha256(b"\x00", leaf)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def root_of(hashes):
    """Root over hashes of subtrees of the same size."""
    while len(hashes) > 1:
        pairs = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]
        hashes = pairs + (hashes[-1:] if len(hashes) % 2 else [])
    return hashes[0]


def tile_path(level, index, width):
    groups = ["%03d" % (index % 1000)]
    while index >= 1000:
        index //= 1000
        groups.insert(0, "x%03d" % (index % 1000))
    return "tile/%s/%s%s" % (level, "/".join(groups), "" if width == 256 else ".p/%d" % width)


def tile_parse(path):
    """Level (or "entries"), index and width of a tile's path, or None."""
    match = re.fullmatch("tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/)*[0-9]{3})(?:\\.p/([1-9][0-9]{0,2}))?", path)
    if not match:
        return None
    index = int(match.group(2).replace("x", "").replace("/", ""))
    level = match.group(1) if match.group(1) == "entries" else int(match.group(1))
    found = (level, index, int(match.group(3) or 256))
    return found if tile_path(*found) == path else None


def tile_width(size, level, index):
    return max(0, min(256, (size >> 8 * level) - 256 * index))


def inclusion_root(position, size, leaf, hashes):
    """Root that an inclusion proof leads to (RFC 9162, section 2.1.3.2), or None."""
    last, node = size - 1, leaf
    for beside in hashes:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = node_hash(beside, node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, beside)
        position, last = position >> 1, last >> 1
    return node if last == 0 else None


def perfect_subtrees(start, end):
    """Level and index of the fewest perfect subtrees that make up a range of leaves."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def range_root(size, start, end, leaves, hashes):
    """Root that leaves of neighbouring positions and the hashes around them lead to, or None."""
    before, after = list(perfect_subtrees(0, start)), list(perfect_subtrees(end, size))
    if len(hashes) != len(before) + len(after):
        return None
    nodes = list(zip(before, hashes))
    nodes += (((0, start + at), leaf) for at, leaf in enumerate(leaves))
    nodes += zip(after, hashes[len(before) :])
    edge = []
    for (level, index), node in nodes:
        while index & 1 and edge and edge[-1][0] == (level, index - 1):
            node = node_hash(edge.pop()[1], node)
            level, index = level + 1, index >> 1
        edge.append(((level, index), node))
    root = edge.pop()[1]
    while edge:
        root = node_hash(edge.pop()[1], root)
    return root


# ---------------------------------------------------------------- leaves

KINDS = ["event", "map_root", "erasure", "key", "anchor", "tombstone", "migration", "retention", "hold"]


class Leaf:
    """The fields of a leaf."""

    def __init__(self, data, position):
        def refuse(what):
            return Finding("LEAF_MALFORMED", "a leaf", what, position)

        at = 0

        def take(length):
            nonlocal at
            if at + length > len(data):
                raise refuse("one that is cut")
            at += length
            return data[at - length : at]

        def number(length, signed=False):
            return int.from_bytes(take(length), "big", signed=signed)

        def text(encoding):
            try:
                return take(number(2)).decode(encoding)
            except ValueError:
                raise refuse("invalid text") from None

        if take(4) != b"GRV1":
            raise refuse("other first bytes")
        kind, flags = number(1), number(1)
        if kind >= len(KINDS) or flags >> 5:
            raise refuse("an unknown kind or flag")
        self.kind = KINDS[kind]
        self.control = self.kind not in ("event", "tombstone")
        self.encrypted, self.has_metadata, self.sealed = bool(flags & 1), bool(flags & 2), bool(flags & 16)
        self.position, self.commit_time, self.version = number(8), number(8, True), number(8)
        self.stream_key, self.prev_stream, self.prev_global = take(32), take(32), take(32)
        self.event_id, self.occurred_at = take(16), number(8, True)
        self.event_type, self.content_type = text("utf-8"), text("ascii")
        self.schema_version, self.schema_id = number(4), number(4)
        self.tags = [take(32) for _ in range(number(2))]
        if any(one >= other for one, other in zip(self.tags, self.tags[1:])):
            raise refuse("tags that do not ascend")
        if self.control:
            self.body = take(number(2))
        else:
            self.payload_commitment, self.metadata_commitment = take(32), take(32)
        if at != len(data):
            raise refuse("bytes behind its end")
        stray = self.has_metadata if self.control else not self.has_metadata and any(self.metadata_commitment)
        if stray:
            raise refuse("a commitment to metadata that are not there")


NAME_KEYS = {}


def name_key(salt, name):
    """Keyed hash of a name under its salt, which is hexadecimal; None if it is no salt."""
    key = (salt, name)
    if key not in NAME_KEYS:
        if len(NAME_KEYS) > 100_000:
            NAME_KEYS.clear()
        secret = unhex(salt)
        fits = secret is not None and 1 <= len(secret) <= 64
        NAME_KEYS[key] = hmac.new(secret, name.encode("utf-8", "surrogatepass"), "sha256").digest() if fits else None
    return NAME_KEYS[key]


def commitment(domain, salt, text):
    """Commitment to the bytes that `text` is the base64 of; None if there are no such bytes or no salt."""
    secret, data = unhex(salt, 32), unbase64(text)
    if secret is None or data is None:
        return None
    return sha256(domain, secret, big(len(data), 8), data)


def stream_genesis(key):
    return sha256(b"graven/stream-genesis/v1", key)


def log_genesis(origin):
    return sha256(b"graven/log-genesis/v1", origin.encode())


# ---------------------------------------------------------------- trie of stream heads


def encode_head(head):
    return big(head["next"], 8) + big(head["first"], 8) + big(head["last"], 8) + head["hash"] + bytes([head["ended"]])


def trie_leaf(key, value):
    return sha256(b"\x00", b"graven/map/v1", key, value)


def trie_branch(depth, left, right):
    return sha256(b"\x01", big(depth, 2), left, right)


def bit(key, depth):
    return key[depth // 8] >> (7 - depth % 8) & 1


def trie_root(heads):
    if not heads:
        return sha256(b"graven/map-empty/v1")
    keys = sorted(heads)

    def over(start, end):
        if end - start == 1:
            return trie_leaf(keys[start], encode_head(heads[keys[start]]))
        differ = int.from_bytes(keys[start], "big") ^ int.from_bytes(keys[end - 1], "big")
        depth = 256 - differ.bit_length()
        low, high = start, end - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if bit(keys[middle], depth) else (middle + 1, high)
        return trie_branch(depth, over(start, low), over(low, end))

    return over(0, len(keys))


def trie_answer(proof, key, root):
    """What the trie with this root says of a stream: its value, b"" if there is none, None if nothing is proven."""
    count = int.from_bytes(proof[4:6], "big")
    end = 6 + 34 * count
    if proof[:4] != b"GTP1" or count > 256 or len(proof) <= end:
        return None
    path = [(int.from_bytes(proof[at : at + 2], "big"), proof[at + 2 : at + 34]) for at in range(6, end, 34)]
    depths = [depth for depth, _ in path]
    if any(depth > 255 for depth in depths) or any(one >= other for one, other in zip(depths, depths[1:])):
        return None
    rest = proof[end + 1 :]
    if proof[end] == 0 and not path and not rest:
        node, answer = sha256(b"graven/map-empty/v1"), b""
    elif proof[end] == 1 and len(rest) == 57 and rest[56] <= 1:
        node, answer = trie_leaf(key, rest), rest
    elif proof[end] == 2 and len(rest) == 89 and rest[88] <= 1:
        other = rest[:32]
        if other == key or any(bit(key, depth) != bit(other, depth) for depth in depths):
            return None
        node, answer = trie_leaf(other, rest[32:]), b""
    else:
        return None
    for depth, beside in reversed(path):
        node = trie_branch(depth, beside, node) if bit(key, depth) else trie_branch(depth, node, beside)
    return answer if node == root else None


# ---------------------------------------------------------------- the bundle

REQUIRED = ["checkpoint", "erasures.ndjson", "events.ndjson", "keys/history.ndjson", "keys/log.vkeys", "policy"]
OTHERS = ["proofs/range.json", "README.txt", "report.html", "report.json", "completeness/seal.json", "checkpoint.tsr"]
NUMBERED = "events\\.[0-9]+\\.ndjson|proofs/[0-9]+\\.tlog-proof|completeness/[0-9a-f]{64}\\.json"
EVENT = {
    "position": "u64", "kind": str, "stream": str, "stream_salt": str, "version": "u64", "id": str, "type": str,
    "content_type": str, "commit_time_us": "i64",
}  # fmt: skip
EVENT_OPTIONAL = {
    "occurred_at_us": "i64", "schema_id": "u32", "schema_version": "u32", "encrypted": bool, "sealed": bool,
    "tags": list, "subject": dict, "payload": str, "payload_salt": str, "metadata": str, "metadata_salt": str,
    "erased": list, "leaf": str,
}  # fmt: skip
NAME = {"name": str, "salt": str, "key": str}


class Bundle:
    def __init__(self, directory, trusted):
        self.directory, self.trusted, self.findings, self.events = directory, trusted, [], 0
        self.tile, self.entries = (None, None), (None, None)

    def add(self, *finding, **place):
        self.findings.append(Finding(*finding, **place))

    def check(self):
        try:
            self.manifest()
            self.open_checkpoint()
            self.tiles()
            self.keys()
            self.erasures()
            self.walk()
            self.proofs()
        except Finding as finding:
            self.findings.append(finding)
        return sorted(self.findings, key=Finding.rank)

    # ------------------------------------------------ files

    def read(self, path):
        try:
            with open(os.path.join(self.directory, *path.split("/")), "rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise Finding("BUNDLE_FILE_MISMATCH", "the file %s" % path, str(error)) from None
        if len(data) > FILE_BYTES_MAX:
            raise Finding("BUNDLE_FILE_MISMATCH", "at most %d bytes in %s" % (FILE_BYTES_MAX, path), "more")
        return data

    def paths(self):
        for folder, _, names in os.walk(self.directory):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.directory).replace(os.sep, "/")

    def manifest(self):
        data = self.read("manifest.json")
        digest = b"%s  manifest.json\n" % hashlib.sha256(data).hexdigest().encode()
        if self.read("manifest.sha256") != digest:
            self.add("BUNDLE_FILE_MISMATCH", "manifest.sha256 to be of manifest.json", "another digest")
        form = {"format": str, "origin": str, "size": "u64", "scope": dict, "store_version": str, "generated_at": str}
        manifest = parse_json("manifest.json", data, dict(form, files=list))
        self.origin, self.size, self.scope = manifest["origin"], manifest["size"], manifest["scope"]
        files = [
            fields("manifest.json", file, {"path": str, "size": "u64", "sha256": str}, {}) for file in manifest["files"]
        ]
        self.files = {file["path"]: file for file in files}
        names = [file["path"] for file in files]
        sorted_names = all(one.encode() < other.encode() for one, other in zip(names, names[1:]))
        if manifest["format"] != FORMAT or len(files) > FILES_MAX:
            raise malformed("manifest.json", "format %s, at most %d files" % (FORMAT, FILES_MAX))
        if not sorted_names or not all(self.known(path) for path in names):
            raise malformed("manifest.json", "ascending paths of files that a bundle has")
        for path in REQUIRED:
            if path not in self.files:
                raise malformed("manifest.json", "the file %s" % path)
        for path in self.paths():
            if path not in self.files and path not in ("manifest.json", "manifest.sha256"):
                self.add("BUNDLE_FILE_MISMATCH", "no file that is not listed", path)
        for path, file in self.files.items():
            try:
                data = self.read(path)
            except Finding as finding:
                self.findings.append(finding)
                continue
            if len(data) != file["size"] or hashlib.sha256(data).hexdigest() != file["sha256"]:
                self.add("BUNDLE_FILE_MISMATCH", "%s with SHA-256 %s" % (path, file["sha256"]), "other bytes")

    @staticmethod
    def known(path):
        safe = len(path) <= 99 and re.fullmatch("[A-Za-z0-9._/-]+", path) and ".." not in path.split("/")
        listed = path in REQUIRED or path in OTHERS or path == "verify.py"
        return bool(safe and (listed or tile_parse(path) or re.fullmatch(NUMBERED, path)))

    # ------------------------------------------------ checkpoint, tree, keys

    def open_checkpoint(self):
        self.checkpoint = Checkpoint(self.read("checkpoint"))
        if (self.origin, self.size) != (self.checkpoint.origin, self.checkpoint.size):
            self.add("BUNDLE_FILE_MISMATCH", "origin and size of the checkpoint in manifest.json", "other ones")
        self.origin, self.size = self.checkpoint.origin, self.checkpoint.size
        form = {"all": {}, "range": {"start": "u64", "end": "u64"}, "streams": {"streams": list}}
        what = self.scope.get("of")
        if not isinstance(what, str) or what not in form:
            raise malformed("manifest.json", "a known scope")
        fields("manifest.json", self.scope, dict(form[what], of=str), {})
        self.run = {"all": (0, self.size), "streams": None}.get(what, (self.scope.get("start"), self.scope.get("end")))
        start, end = self.run or (0, self.size)
        if not start < end <= self.size:
            raise malformed("manifest.json", "a scope within the size of the checkpoint")

    def read_tile(self, level, index):
        """The hashes of a tile of the tree, which are as many as a tree of this size has there."""
        width = tile_width(self.size, level, index)
        path = tile_path(level, index, width)
        if path not in self.files:
            raise Finding("TILE_MISMATCH", path, "no such file", tile=(level, 256 * index))
        data = self.read(path)
        if len(data) != 32 * width:
            raise malformed(path, "%d hashes" % width)
        return [data[at : at + 32] for at in range(0, len(data), 32)]

    def tiles(self):
        listed, bundles = [], []
        for path in self.files:
            tile = tile_parse(path)
            if tile and tile[0] == "entries":
                bundles.append(tile)
            elif tile:
                if tile[0] > 7 or tile_width(self.size, tile[0], tile[1]) != tile[2]:
                    raise malformed(path, "a tile of a tree of the checkpoint's size")
                listed.append(tile)
        found = self.edge_root()
        if found != self.checkpoint.root:
            raise Finding("ROOT_MISMATCH", self.checkpoint.root.hex(), found.hex())
        above = {}
        for level, index, width in sorted(listed, key=lambda tile: (-tile[0], tile[1])):
            hashes = self.read_tile(level, index)
            if width == 256:
                vouched = above.get((level + 1, index))
                if vouched is None:
                    raise Finding("TILE_MISMATCH", "the tile above it", "no such file", tile=(level, 256 * index))
                if vouched != root_of(hashes):
                    raise Finding("TILE_MISMATCH", vouched.hex(), root_of(hashes).hex(), tile=(level, 256 * index))
            if level:
                above.update(((level, 256 * index + at), node) for at, node in enumerate(hashes))
        for _, index, width in sorted(bundles):
            if tile_width(self.size, 0, index) != width:
                raise malformed(tile_path("entries", index, width), "leaves of a log of the checkpoint's size")
            for at, leaf in enumerate(self.leaves_of(index)):
                self.leaf(256 * index + at, leaf)

    def edge_root(self):
        """Root of the tree, from the tiles at its right edge."""
        peaks = []
        for level in range(7, -1, -1):
            index = self.size >> 8 * level + 8
            width = tile_width(self.size, level, index)
            hashes = self.read_tile(level, index) if width else []
            at = 0
            for height in range(7, -1, -1):
                if width >> height & 1:
                    peaks.append(root_of(hashes[at : at + (1 << height)]))
                    at += 1 << height
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root

    def hash_at(self, position):
        """Hash of the leaf at a position, by a tile that leads to the root."""
        if position >= self.size:
            raise Finding("POSITION_MISMATCH", "a position below %d" % self.size, position, position)
        if self.tile[0] != position // 256:
            self.tile = (position // 256, self.read_tile(0, position // 256))
        return self.tile[1][position % 256]

    def leaf(self, position, data):
        """A leaf, compared with its hash in the tree."""
        expected, found = self.hash_at(position), leaf_hash(data)
        if expected != found:
            raise Finding("LEAF_HASH_MISMATCH", "leaf hash %s" % expected.hex(), found.hex(), position)
        leaf = Leaf(data, position)
        if leaf.position != position:
            raise Finding("POSITION_MISMATCH", position, leaf.position, position)
        return leaf

    def leaves_of(self, index):
        """The leaves of a bundle of leaves."""
        width = tile_width(self.size, 0, index)
        path = tile_path("entries", index, width)
        data, leaves, at = self.read(path), [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if at + 2 > len(data) or end > len(data):
                raise malformed(path, "a bundle of leaves")
            leaves.append(data[at + 2 : end])
            at = end
        if len(leaves) != width:
            raise malformed(path, "%d leaves" % width)
        return leaves

    def control(self, path, line, kinds):
        """Position and leaf of a record of the log about itself."""
        data = unbase64(line["leaf"])
        if data is None:
            raise malformed(path, "a leaf in base64")
        leaf = self.leaf(line["position"], data)
        if leaf.kind not in kinds:
            raise malformed(path, "leaves of %s records" % " and ".join(kinds))
        try:
            body = json.loads(leaf.body.decode("utf-8"), object_pairs_hook=unique)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise malformed(path, "a record whose body is an object")
        return leaf.position, leaf, body

    def controls(self, path, kinds):
        last = -1
        for line in lines(path, self.read(path)):
            found = self.control(path, parse_json(path, line, {"position": "u64", "leaf": str}), kinds)
            if found[0] <= last:
                raise malformed(path, "ascending positions")
            last = found[0]
            yield found

    def keys(self):
        """Believes the keys that were given, and those they authorised in the log."""
        words = {"add": "valid_from", "retire": "valid_until", "revoke": "last_good"}
        changes = []
        for position, _, body in self.controls("keys/history.ndjson", ["key"]):
            word, vkey, signatures = body.get("change"), body.get("vkey"), body.get("signatures")
            size = body.get(words.get(word))
            if not isinstance(vkey, str) or type(size) is not int or not isinstance(signatures, list):
                raise malformed("keys/history.ndjson", "changes of keys")
            text = "graven/key-change/v1\n%s\n%s\n%s\n%d\n" % (self.origin, word, vkey, size)
            changes.append((position, word, parse_vkey(vkey), size, signatures, text.encode()))
        for line in self.read("keys/log.vkeys").decode("utf-8", "replace").split("\n")[:-1]:
            if parse_vkey(line) is None:
                raise malformed("keys/log.vkeys", "a verifier key a line")
        if not self.trusted:
            self.add("KEY_UNKNOWN", "a verifier key that did not come with the bundle", "none given")
            return

        def authorised(believed, change, at):
            for entry in change[4]:
                signer = parse_vkey(entry.get("vkey", "")) if isinstance(entry, dict) else None
                signature = unbase64(entry.get("signature")) if signer else None
                until = believed.get(signer[2], (None, 0, -1))[2] if signer else -1
                if signature is not None and at <= until and ed25519_verify(signer[2], change[5], signature):
                    return True
            return False

        def follow(withdrawn):
            believed = {key[2]: (key, 0, withdrawn.get(key[2], 2**64)) for key in self.trusted}
            for change in changes:
                key = change[2]
                if change[1] == "add" and key and key[2] not in believed and authorised(believed, change, change[0]):
                    believed[key[2]] = (key, change[3], withdrawn.get(key[2], 2**64))
            return believed

        everyone, withdrawn = follow({}), {}
        for change in changes:
            if change[1] != "add" and change[2] and authorised(everyone, change, 0):
                withdrawn[change[2][2]] = min(change[3], withdrawn.get(change[2][2], 2**64))
        believed = follow(withdrawn).values()
        if not self.checkpoint.signed_by([key for key, low, high in believed if low <= self.size <= high]):
            known = self.checkpoint.signed_by([key for key, _, _ in believed])
            code = "KEY_OUT_OF_RANGE" if known else "KEY_UNKNOWN"
            self.add(code, "a checkpoint that a trusted key signed", "one that none of them may have signed")

    def erasures(self):
        """For each part of an event, what the log says was erased, and by which record."""
        self.erased = {part: {"positions": {}, "stream": {}, "subject": {}} for part in ("data", "metadata", "subject")}
        for record, _, body in self.controls("erasures.ndjson", ["erasure", "retention"]):
            target, parts = body.get("target"), body.get("parts")
            of = target.get("of") if isinstance(target, dict) else None
            if not isinstance(parts, list) or any(part not in self.erased for part in parts if isinstance(part, str)):
                raise malformed("erasures.ndjson", "parts of an event")
            for part in parts:
                if of == "positions" and isinstance(target.get("positions"), list):
                    self.erased[part]["positions"].update((position, record) for position in target["positions"])
                elif of == "stream" and type(target.get("before_version")) is int:
                    key, before = unhex(target.get("stream_key"), 32), target["before_version"]
                    # a later record that covers as many versions covers whatever an earlier one does
                    wider = [entry for entry in self.erased[part]["stream"].get(key, []) if entry[0] > before]
                    self.erased[part]["stream"][key] = wider + [(before, record)]
                elif of == "subject":
                    self.erased[part]["subject"][unhex(target.get("subject_key"), 32)] = record
                else:
                    raise malformed("erasures.ndjson", "a target")

    def covered(self, leaf, part):
        erased = self.erased[part]
        of_stream = erased["stream"].get(leaf.stream_key, [])
        return (
            erased["positions"].get(leaf.position, -1) > leaf.position
            or any(leaf.version < before and record > leaf.position for before, record in of_stream)
            or any(erased["subject"].get(tag, -1) > leaf.position for tag in leaf.tags)
        )

    # ------------------------------------------------ events

    def open_seal(self):
        path = "completeness/seal.json"
        line = parse_json(path, self.read(path), {"position": "u64", "leaf": str})
        position, _, body = self.control(path, line, ["map_root"])
        root = unhex(body.get("root"), 32)
        if root is None or type(body.get("size")) is not int or not body["size"] <= position:
            raise malformed(path, "size and root of the stream heads")
        self.seal = (position, body["size"], body.get("streams"), root)

    def walk(self):
        self.seal, self.heads, self.time = None, {}, NO_TIME
        if self.scope["of"] != "range":
            self.open_seal()
        self.next = self.run[0] if self.run else 0
        part = 0
        while True:
            path = "events.%03d.ndjson" % part if part else "events.ndjson"
            if path not in self.files:
                break
            for line in lines(path, self.read(path)):
                self.line(path, parse_json(path, line, EVENT, EVENT_OPTIONAL))
            part += 1
        if self.run and self.next < self.run[1]:
            expected = "events up to position %d" % (self.run[1] - 1)
            self.add("POSITION_MISMATCH", expected, "the end of the events", position=self.next)
        if self.scope["of"] == "streams":
            self.whole_streams()

    def line(self, path, event):
        position = event["position"]
        follows = position == self.next if self.run else position >= self.next
        if not follows:
            self.add("POSITION_MISMATCH", "position %d" % self.next, position, position=self.next)
        self.next = max(self.next, position + 1)
        if not follows or self.run and not self.run[0] <= position < self.run[1]:
            return
        if self.run:
            if "leaf" in event:
                raise malformed(path, "events whose leaves stand in bundles of leaves")
            if tile_path("entries", position // 256, tile_width(self.size, 0, position // 256)) not in self.files:
                raise Finding("BUNDLE_MALFORMED", "the leaves around the event", "no such file", position)
            if self.entries[0] != position // 256:
                self.entries = (position // 256, self.leaves_of(position // 256))
            data = self.entries[1][position % 256]
        else:
            data = unbase64(event.get("leaf"))
            if data is None:
                raise malformed(path, "the leaf of every event in base64")
        self.events += 1
        try:
            leaf = self.leaf(position, data)
        except Finding as finding:
            self.findings.append(finding)
            return
        self.compare(path, event, leaf)
        if self.scope["of"] == "streams" and event["stream"] not in self.scope["streams"]:
            self.add("STREAM_INCOMPLETE", "an event of an exported stream", event["stream"], position=position)
        if self.run:
            before = self.hash_at(position - 1) if position else log_genesis(self.origin)
            if leaf.prev_global != before:
                self.add("PREV_GLOBAL_MISMATCH", before.hex(), leaf.prev_global.hex(), position=position)
            if leaf.commit_time < self.time:
                self.add("PREV_GLOBAL_MISMATCH", "a later time", leaf.commit_time, position=position)
            self.time = leaf.commit_time
        try:
            self.step(leaf, leaf_hash(data))
        except Finding as finding:
            self.findings.append(finding)
        if self.scope["of"] == "all" and self.seal[1] == position + 1:
            found = (len(self.heads), trie_root(self.heads))
            if found != self.seal[2:]:
                self.add("MAP_ROOT_MISMATCH", self.seal[3].hex(), found[1].hex(), position=self.seal[0])

    def compare(self, path, event, leaf):
        """Compares every field of an event with its leaf."""

        def wrong(code, expected, found):
            self.add(code, expected, found, position=leaf.position)

        digits = leaf.event_id.hex()
        envelope = {
            "kind": leaf.kind,
            "version": leaf.version,
            "id": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])),
            "type": leaf.event_type,
            "content_type": leaf.content_type,
            "commit_time_us": leaf.commit_time,
            "occurred_at_us": None if leaf.occurred_at == NO_TIME else leaf.occurred_at,
            "schema_id": leaf.schema_id,
            "schema_version": leaf.schema_version,
            "encrypted": leaf.encrypted,
            "sealed": leaf.sealed,
        }
        unsaid = {"schema_id": 0, "schema_version": 0, "encrypted": False, "sealed": False}
        for name, expected in envelope.items():
            if event.get(name, unsaid.get(name)) != expected:
                wrong("LEAF_HASH_MISMATCH", "%s %r" % (name, expected), event.get(name))
        if name_key(event["stream_salt"], event["stream"]) != leaf.stream_key:
            wrong("LEAF_HASH_MISMATCH", leaf.stream_key.hex(), "another stream's name or salt")

        def named(name, prefix):
            fields(path, name, {}, NAME)
            plain = "name" in name and "salt" in name and "key" not in name
            return name_key(name["salt"], prefix + name["name"]) if plain else None

        keys = [named(tag, "") for tag in event.get("tags", [])]
        subject = event.get("subject")
        subject_erased = subject is not None and "key" in subject
        if subject is not None:
            fields(path, subject, {}, NAME)
            keys.append(unhex(subject["key"], 32) if subject_erased else named(subject, "$subject/"))
        if None in keys or sorted(keys) != leaf.tags:
            wrong("LEAF_HASH_MISMATCH", "the tags that were hashed", "other ones")
        if subject_erased and not self.covered(leaf, "subject"):
            wrong("PAYLOAD_MISSING_UNAUTHORISED", "a record of its erasure", "no name of the data subject")

        def part(name, text, commit, code, domain):
            if text is None:
                if not self.covered(leaf, name):
                    wrong("PAYLOAD_MISSING_UNAUTHORISED", "a record of its erasure", "no %s" % name)
                return
            found = commitment(domain, event.get(("payload" if name == "data" else name) + "_salt"), text)
            if found is None or found != commit:
                wrong(code, commit.hex() if commit else "none", "another commitment, or no salt")
            if self.covered(leaf, name):
                wrong("ERASED_BUT_PRESENT", "no %s" % name, name)

        payload, metadata = event.get("payload"), event.get("metadata")
        if leaf.control and payload is not None:
            if unbase64(payload) != leaf.body or "payload_salt" in event:
                wrong("PAYLOAD_MISMATCH", "the body in the leaf", "another one")
        else:
            commit = None if leaf.control else leaf.payload_commitment
            part("data", payload, commit, "PAYLOAD_MISMATCH", b"graven/payload/v1")
        if leaf.has_metadata or metadata is not None:
            commit = leaf.metadata_commitment if leaf.has_metadata else None
            part("metadata", metadata, commit, "META_MISMATCH", b"graven/meta/v1")

        absent = ["data"] if payload is None else []
        absent += ["metadata"] if metadata is None and leaf.has_metadata else []
        absent += ["subject"] if subject_erased else []
        stray = any(event.get(name) is None and name + "_salt" in event for name in ("payload", "metadata"))
        if event.get("erased", []) != absent or stray:
            wrong("LEAF_HASH_MISMATCH", "%s to be called erased" % absent, event.get("erased"))

    def step(self, leaf, found):
        """Takes the next leaf of a stream, which has to continue it."""
        key, position, ended = leaf.stream_key, leaf.position, leaf.kind == "tombstone"
        head, genesis = self.heads.get(key), stream_genesis(leaf.stream_key)
        if head and head["ended"]:
            raise Finding("STREAM_VERSION_GAP", "no event after the tombstone", leaf.version, position)
        if head:
            following, first, expected = head["next"], head["first"], head["hash"]
        elif self.run and self.run[0] > 0 and leaf.prev_stream != genesis and leaf.version != 0:
            following, first, expected = 0 if ended else leaf.version, position, leaf.prev_stream
        else:
            following, first, expected = 0, position, genesis
        version = TOMBSTONE_VERSION if ended else following
        if leaf.version != version:
            raise Finding("STREAM_VERSION_GAP", "version %d" % version, leaf.version, position)
        if leaf.prev_stream != expected:
            raise Finding("PREV_STREAM_MISMATCH", expected.hex(), leaf.prev_stream.hex(), position)
        following += 0 if ended else 1
        self.heads[key] = {"next": following, "first": first, "last": position, "hash": found, "ended": ended}

    def whole_streams(self):
        """Each exported stream ends where the sealed root of the stream heads says."""
        streams = self.scope["streams"]
        ascending = all(isinstance(name, str) for name in streams) and all(
            one.encode() < other.encode() for one, other in zip(streams, streams[1:])
        )
        if not streams or not ascending:
            raise malformed("manifest.json", "ascending names of streams")
        shown, keys = [], set()
        form = {"stream": str, "stream_salt": str, "stream_key": str, "seal": "u64", "proof": str}
        for path in self.files:
            if not path.startswith("completeness/") or path == "completeness/seal.json":
                continue
            said = parse_json(path, self.read(path), form)
            key, proof = unhex(said["stream_key"], 32), unbase64(said["proof"])
            if key is None or proof is None or path != "completeness/%s.json" % key.hex():
                raise malformed(path, "a proof, and the stream of its name")
            if said["seal"] != self.seal[0] or said["stream"] in shown:
                raise malformed(path, "one proof a stream, under the seal")
            if name_key(said["stream_salt"], said["stream"]) != key:
                self.add("STREAM_INCOMPLETE", "the keyed hash of %r" % said["stream"], "another")
            answer, head = trie_answer(proof, key, self.seal[3]), self.heads.get(key)
            if not answer or not head or encode_head(head) != answer:
                expected = "all events of %r" % said["stream"]
                if answer:
                    expected += ", which are %d" % int.from_bytes(answer[:8], "big")
                elif answer is None:
                    expected = "a proof under the sealed root"
                self.add("STREAM_INCOMPLETE", expected, "%d events" % head["next"] if head else "none")
            shown.append(said["stream"])
            keys.add(key)
        if sorted(shown, key=str.encode) != streams or set(self.heads) - keys:
            self.add("STREAM_INCOMPLETE", "a proof of every exported stream, and no other", "%d proofs" % len(shown))

    # ------------------------------------------------ proofs

    def proofs(self):
        if self.run:
            try:
                self.range_proof("proofs/range.json")
            except Finding as finding:
                self.findings.append(finding)
        for path in self.files:
            match = re.fullmatch("proofs/([0-9]+)\\.tlog-proof", path)
            if match:
                try:
                    self.single_proof(path, decimal(match.group(1)))
                except Finding as finding:
                    self.findings.append(finding)

    def range_proof(self, path):
        proof = parse_json(path, self.read(path), {"start": "u64", "end": "u64", "hashes": list})
        hashes = [unhex(text, 32) for text in proof["hashes"]]
        if None in hashes:
            raise malformed(path, "hashes in hexadecimal")
        start, end = self.run
        leaves = (self.hash_at(position) for position in range(start, end))
        if (proof["start"], proof["end"]) != self.run or range_root(self.size, start, end, leaves, hashes) != (
            self.checkpoint.root
        ):
            raise Finding("PROOF_INVALID", "a proof of the exported range", "another one")

    def single_proof(self, path, position):
        def invalid(found):
            return Finding("PROOF_INVALID", "a proof of position %s" % position, found, position)

        if position is None:
            raise malformed(path, "a position as its name")
        head, _, checkpoint = self.read(path).partition(b"\n\n")
        if checkpoint != self.checkpoint.data:
            raise invalid("one that stands on another checkpoint")
        texts = head.decode("utf-8", "replace").split("\n")
        if texts[:2] != ["c2sp.org/tlog-proof@v1", "index %d" % position]:
            raise invalid("one of another position or form")
        hashes = [unbase64(text) for text in texts[2:]]
        if any(node is None or len(node) != 32 for node in hashes):
            raise invalid("lines that are no hashes")
        if inclusion_root(position, self.size, self.hash_at(position), hashes) != self.checkpoint.root:
            raise invalid("hashes that lead to another root")


def main():
    parser = argparse.ArgumentParser(description="Checks a bundle of a Graven log.")
    parser.add_argument("--vkey", action="append", default=[], help="verifier key of the log, got another way")
    parser.add_argument("directory", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    arguments = parser.parse_args()
    trusted = []
    for text in arguments.vkey:
        key = parse_vkey(text.strip())
        if key is None:
            parser.error("no verifier key: %r" % text)
        trusted.append(key)
    bundle = Bundle(arguments.directory, trusted)
    findings = bundle.check()
    if findings:
        for finding in findings[:20]:
            print(finding)
        print("NOT PROVEN: %d findings; the first one counts" % len(findings))
        return 1
    print("proven: %d events, under the checkpoint of %s" % (bundle.events, bundle.origin))
    print("size %d, root %s" % (bundle.size, bundle.checkpoint.root.hex()))
    print("signed by a key you gave, or one it authorised; no witness was asked for")
    return 0


if __name__ == "__main__":
    sys.exit(main())
