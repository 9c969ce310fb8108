"""Labels the parsing tests share."""

from tasks.parsing.names import Catalogue

LABELS = (
    ("vim", "vim: Vi IMproved - enhanced vi editor"),
    ("emacs", "emacs: GNU Emacs editor (metapackage)"),
    ("nano", "nano: small, friendly text editor inspired by Pico"),
    ("less", "less: pager program similar to more"),
    ("git", "git: fast, scalable, distributed revision control system"),
    ("tig", "tig: ncurses-based text-mode interface for Git"),
    ("screen", "screen: terminal multiplexer with VT100/ANSI terminal emulation"),
    ("audacity", "audacity: fast, cross-platform audio editor"),
    ("flac", "flac: Free Lossless Audio Codec - command line tools"),
    ("sox", "sox: Swiss army knife of sound processing"),
    ("lame", "lame: MP3 encoding library (frontend)"),
    ("works-with::image", "works-with: image"),
    ("works-with::audio", "works-with: audio"),
    ("planet", "Mercury"),
    ("element", "Mercury"),
    ("vim-gtk3", "vim-gtk3: Vi IMproved - enhanced vi editor - with GTK3 GUI"),
)
ID = {uid: label_id for label_id, (uid, _) in enumerate(LABELS)}
NAME = dict(LABELS)


def small_catalogue() -> Catalogue:
    return Catalogue(range(len(LABELS)), [uid for uid, _ in LABELS], [name for _, name in LABELS])
