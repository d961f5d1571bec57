#!/usr/bin/env python3
"""Makes, edits and fingerprints the trees of the benchmark.  Python 3.9, standard library only.

The same arguments give the same names, sizes, bytes and times on every machine; nothing is synced to
disk, so run `sync` after it.

  office   sizes log-normal (median 8 KiB, sigma 1.6, at most 32 MiB: 100,000 files are 2.7 GiB), in a
           randomly grown tree; every tenth file lies in `bulk/part-NNN/`, which is what `rename` moves.
           --bytes scales all sizes so that the sum is about that.
  small    the same tree with files of 512 to 1,536 bytes, for counting what one more file costs.
  names    a fifth each: NFC names, NFD names, spaces and signs, 199-byte names, up to 40 levels deep.
  bigfile  one file `big.bin` of --bytes bytes that neither repeat nor compress.
"""

import argparse
import hashlib
import json
import math
import os
import random
import sys
import unicodedata

EPOCH = 1_640_995_200  # 2022-01-01, the oldest time in a tree
YEARS = 3 * 365 * 86_400
BILLION = 1_000_000_000
LARGEST = 32 << 20
MODULUS = 1 << 128
# What tools leave in the root of a tree for themselves: never edited, never compared.
MARKS = {".homeport-root", "sync.ffs_db", ".sync.ffs_db", ".stfolder"}

ENDINGS = {
    ".docx": 22, ".pdf": 20, ".xlsx": 18, ".txt": 10, ".jpg": 10, ".msg": 7, ".pptx": 5, ".csv": 5,
    ".ini": 3,
}
NOUNS = """agenda annex archive balance brief budget calendar catalogue concept contract cost-centre
expenses forecast grant handbook index inventory invoice letter licence loan manual meeting memo notice
offer order payroll plan project protocol quote receipt register report review roster sketch summary
survey table tender timesheet training transfer travel visit voucher warranty workshop""".split()
ACCENTED = "äöüéèñçåøšžłřÄÖÜÉ"
SIGNS = "& ' (2) # %41 + = @ ~$ [b] {c} , ; ! ^".split()


class Source:
    """Bytes for small files: slices of one seeded block, each behind a header of its own."""

    BLOCK = 64 << 20

    def __init__(self, seed):
        self.seed = seed
        self.block = memoryview(random.Random(f"block {seed}").randbytes(self.BLOCK))

    def parts(self, name, size):
        """The content of `name`, as buffers for writev: no copy is made."""
        key = hashlib.blake2b(f"{self.seed}/".encode() + os.fsencode(name), digest_size=24).digest()
        head = memoryview(key)[: min(size, 24)]
        size -= len(head)
        start = int.from_bytes(key[:8], "big") % (self.BLOCK - LARGEST)
        assert size <= LARGEST
        return [head, self.block[start : start + size]]


def write(path, parts, stamp, exists=False):
    flags = os.O_WRONLY | (os.O_TRUNC if exists else os.O_CREAT | os.O_EXCL)
    descriptor = os.open(path, flags, 0o644)
    try:
        for part in parts:
            while part:
                part = part[os.write(descriptor, part) :]
        os.utime(descriptor, ns=(stamp, stamp))
    finally:
        os.close(descriptor)


def some_time(chance, start=EPOCH, span=YEARS):
    return (start + chance.randrange(span)) * BILLION + chance.randrange(BILLION)


def office_size(chance, scale=1.0):
    return min(LARGEST, int(scale * 8192 * math.exp(chance.gauss(0.0, 1.6))))


def office_name(chance, number):
    joint = " " if chance.random() < 0.4 else "_"
    words = joint.join((chance.choice(NOUNS), chance.choice(NOUNS), f"{number:06}"))
    return words + chance.choices(list(ENDINGS), ENDINGS.values())[0]


def office_dirs(chance, count):
    """(directories of the grown tree, directories of bulk); a parent always precedes its children."""
    parts = max(1, count // 50)
    grown = [("", 0)]
    for number in range(max(0, count - parts - 1)):
        parent, depth = chance.choice(grown)
        if depth > 11:
            parent, depth = grown[0]
        joint = " " if chance.random() < 0.3 else "-"
        grown.append((f"{parent}{chance.choice(NOUNS)}{joint}{number}/", depth + 1))
    return [path for path, _ in grown], [f"bulk/part-{number:03}/" for number in range(parts)]


def make_office(root, seed, files, dirs, total, small=False):
    chance = random.Random(seed)
    source = Source(seed)
    grown, bulk = office_dirs(chance, dirs)
    for path in [*grown[1:], "bulk/", *bulk]:
        os.mkdir(os.path.join(root, path))
    # Sizes come first, from a generator of their own: a scale changes nothing else.
    measure = random.Random(seed + 1)
    if small:
        sizes = [measure.randrange(512, 1537) for _ in range(files)]
    else:
        sizes = [office_size(measure) for _ in range(files)]
        if total:
            scale = total / max(1, sum(sizes))
            sizes = [min(LARGEST, int(size * scale)) for size in sizes]
    for number, size in enumerate(sizes):
        in_bulk = number % 10 == 0
        below = bulk[number // 10 % len(bulk)] if in_bulk else chance.choice(grown)
        name = below + office_name(chance, number)
        write(os.path.join(root, name), source.parts(name, size), some_time(chance))
    return {"files": files, "dirs": len(grown) + len(bulk) + 1, "bytes": sum(sizes)}


def odd_name(chance, number):
    """(directory, name) of file `number`: its kind is the number modulo five."""
    kind, group = number % 5, number // 5 % 40
    word = "".join(chance.choices(ACCENTED, k=7))
    if kind < 2:
        form = ("NFC", "NFD")[kind]
        spelt = f"{form.lower()} ordner ü {group}/", f"{word} notiz {number}.txt"
        return tuple(unicodedata.normalize(form, part) for part in spelt)
    if kind == 2:
        first, second = chance.sample(SIGNS, 2)
        return f"blanks  and signs {group}/", f" {first} two  blanks {second} {number} .txt"
    if kind == 3:
        filling = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=195))
        return f"long {group}/", f"{number} {filling}"[:195] + ".txt"
    levels = chance.randrange(5, 41)
    return "".join(f"level {group % 20}.{level}/" for level in range(levels)), f"deep {number}.txt"


def make_names(root, seed, files):
    chance = random.Random(seed)
    source = Source(seed)
    total, made = 0, set()
    for number in range(files):
        below, name = odd_name(chance, number)
        if below not in made:
            os.makedirs(os.path.join(root, below), exist_ok=True)
            made.add(below)
        size = chance.randrange(4097)
        total += size
        write(os.path.join(root, below, name), source.parts(below + name, size), some_time(chance))
    return {"files": files, "dirs": len(list_tree(root)[1]) + 1, "bytes": total}


def make_bigfile(root, seed, size):
    chance = random.Random(f"big {seed}")
    path = os.path.join(root, "big.bin")
    with open(path, "xb", buffering=0) as file:
        left = size
        while left:
            left -= file.write(chance.randbytes(min(left, 1 << 20)))
    os.utime(path, ns=(EPOCH * BILLION, EPOCH * BILLION))
    return {"files": 1, "dirs": 1, "bytes": size}


def list_tree(root):
    """(files, directories) below root as sorted relative paths; an unreadable one is an error."""
    files, dirs, waiting = [], [], [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(root, below)) as entries:
            for entry in entries:
                path = below + entry.name
                if path in MARKS:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    dirs.append(path)
                    waiting.append(path + "/")
                else:
                    files.append(path)
    return sorted(files), sorted(dirs)


def fingerprint(root, path):
    """One file as a number: path, size, second of change and bytes. A tree is the sum of these."""
    hasher = hashlib.blake2b(digest_size=16)
    full = os.path.join(root, path)
    if os.path.islink(full):
        hasher.update(b"link " + os.fsencode(path) + b"\0" + os.fsencode(os.readlink(full)))
        return int.from_bytes(hasher.digest(), "big")
    with open(full, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        when = status.st_mtime_ns // BILLION
        hasher.update(os.fsencode(path) + f"\0{status.st_size}\0{when}\0".encode())
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return int.from_bytes(hasher.digest(), "big")


def digest(root):
    files, dirs = list_tree(root)
    total = sum(fingerprint(root, path) for path in files) % MODULUS
    of_dirs = hashlib.blake2b(b"\0".join(map(os.fsencode, dirs)), digest_size=16).hexdigest()
    return {"digest": f"{total:032x}", "dirs_digest": of_dirs, "files": len(files), "dirs": len(dirs)}


def churn(root, side, seed, changed, new, deleted):
    """Edits one side. Both sides must be equal before either is edited: A takes files of even index,
    B of odd index, so the edits never meet. `delta` is what the edit adds to the digest of a tree."""
    files, _ = list_tree(root)
    chance = random.Random(f"churn {seed} {side}")
    source = Source(seed + 1000)
    own = files["AB".index(side) :: 2]
    counts = [round(len(files) * part / 100) for part in (changed, new, deleted)]
    if counts[0] + counts[2] > len(own):
        sys.exit(f"tree.py: {len(own)} files are too few for that much churn")
    picked = chance.sample(own, counts[0] + counts[2])
    start = EPOCH + YEARS + seed * 86_400
    delta = 0
    for path in picked[: counts[0]]:
        full = os.path.join(root, path)
        delta -= fingerprint(root, path)
        content = source.parts(side + path, os.stat(full).st_size)
        write(full, content, some_time(chance, start, 3600), exists=True)
        delta += fingerprint(root, path)
    for path in picked[counts[0] :]:
        delta -= fingerprint(root, path)
        os.unlink(os.path.join(root, path))
    for number in range(counts[1]):
        below = os.path.dirname(chance.choice(own))
        path = os.path.join(below, f"new-{side}-{seed}-{number:06}.docx")
        content = source.parts(side + path, office_size(chance))
        write(os.path.join(root, path), content, some_time(chance, start, 3600))
        delta += fingerprint(root, path)
    names = ("changed", "new", "deleted")
    return {**dict(zip(names, counts)), "delta": f"{delta % MODULUS:032x}"}


def poke(path, seed, offset, length):
    """Overwrites some bytes in place, and gives the file a new time of change."""
    size = os.stat(path).st_size
    if offset is None:
        offset = random.Random(f"poke {seed}").randrange(max(1, (size - length) // length)) * length
    if offset + length > size:
        sys.exit(f"tree.py: {path} has only {size} bytes")
    with open(path, "r+b", buffering=0) as file:
        file.seek(offset)
        file.write(random.Random(f"poked {seed}").randbytes(length))
    stamp = (EPOCH + YEARS + seed * 60) * BILLION
    os.utime(path, ns=(stamp, stamp))
    return {"offset": offset, "length": length}


def make(arguments):
    root, seed = arguments.root, arguments.seed
    os.makedirs(root, exist_ok=True)
    if os.listdir(root):
        sys.exit(f"tree.py: {root} is not empty")
    profile = arguments.profile
    if profile == "bigfile":
        return make_bigfile(root, seed, 4 << 30 if arguments.bytes is None else arguments.bytes)
    if profile == "names":
        return make_names(root, seed, 20_000 if arguments.files is None else arguments.files)
    files = 100_000 if arguments.files is None else arguments.files
    dirs = max(3, files // 20) if arguments.dirs is None else arguments.dirs
    return make_office(root, seed, files, dirs, arguments.bytes, small=profile == "small")


def rename(root, old, new):
    os.rename(os.path.join(root, old), os.path.join(root, new))
    return {"from": old, "to": new}


def parser():
    main = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = main.add_subparsers(dest="command", required=True)

    command = commands.add_parser("make", help="make a tree in an empty directory")
    command.add_argument("--profile", required=True, choices=["office", "small", "names", "bigfile"])
    command.add_argument("--root", required=True)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--files", type=int)
    command.add_argument("--dirs", type=int, help="default: a twentieth of the files")
    command.add_argument("--bytes", type=int)

    command = commands.add_parser("churn", help="edit one side of two equal trees")
    command.add_argument("--root", required=True)
    command.add_argument("--side", required=True, choices=["A", "B"])
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--changed", type=float, default=1.0, help="per cent")
    command.add_argument("--new", type=float, default=0.5, help="per cent")
    command.add_argument("--deleted", type=float, default=0.5, help="per cent")

    command = commands.add_parser("poke", help="overwrite a few bytes of a file")
    command.add_argument("--file", required=True)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--offset", type=int, help="default: chosen by the seed")
    command.add_argument("--length", type=int, default=4096)

    command = commands.add_parser("rename", help="rename one directory")
    command.add_argument("--root", required=True)
    command.add_argument("--from", dest="old", default="bulk")
    command.add_argument("--to", dest="new", default="bulk-renamed")

    command = commands.add_parser("digest", help="fingerprint a tree, whatever the order")
    command.add_argument("--root", required=True)
    return main


def main():
    arguments = parser().parse_args()
    if arguments.command == "make":
        answer = make(arguments)
    elif arguments.command == "churn":
        percents = arguments.changed, arguments.new, arguments.deleted
        answer = churn(arguments.root, arguments.side, arguments.seed, *percents)
    elif arguments.command == "poke":
        answer = poke(arguments.file, arguments.seed, arguments.offset, arguments.length)
    elif arguments.command == "rename":
        answer = rename(arguments.root, arguments.old, arguments.new)
    else:
        answer = digest(arguments.root)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
