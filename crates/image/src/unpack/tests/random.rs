//! Archives that nobody thought of.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_stays_within_its_tree(steps in proptest::collection::vec((0u8..9, 0usize..9, 0usize..9), 1..32)) {
        const PATHS: [&str; 9] =
            ["a", "a/b", "b", "b/.wh.a", "a/b/c", ".wh.b", "/a/../a", "a/.wh..wh..opq", "c/a"];
        const TEXTS: [&str; 9] = ["a", "b", "..", "../beside", "/", "a/..", "../../beside/file", "a/b/c", "/b/../.."];
        let place = Place::new("any");
        let mut archive = Builder::default();
        for (kind, path, text) in steps {
            let (path, text) = (PATHS[path], TEXTS[text]);
            match kind {
                0 => archive.file(path, text),
                1 | 2 => archive.directory(path),
                3..=5 => archive.link(path, text),
                6 => archive.hard(path, text),
                7 => archive.node(b'6', path, (0, 0)),
                _ => archive.node(b'3', path, (0, 0)),
            };
        }
        // Legal or not, `unpack` looks at what is beside.
        let _ = place.unpack(&archive.ended());
    }

    #[test]
    fn any_bytes_are_an_archive_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Place::new("any-bytes").unpack(&bytes);
    }

    #[test]
    fn any_change_of_an_archive_is_taken_or_refused(at in 0usize..4608, byte: u8, repair: bool) {
        let mut archive = Builder::default();
        archive.directory("d").file("d/f", "x").link("l", "../beside").file("l/x", "y").hard("h", "d/f");
        archive.pax(&[("mtime", b"1.5")]).file("p", "");
        let mut bytes = archive.ended();
        let at = at % bytes.len();
        bytes[at] = byte;
        if repair {
            let start = at / 512 * 512;
            let mut block = [0; 512];
            block.copy_from_slice(&bytes[start..start + 512]);
            let mut mended = Builder::default();
            mended.block(block);
            bytes[start..start + 512].copy_from_slice(&mended.0);
        }
        let _ = Place::new("any-change").unpack(&bytes);
    }
}
