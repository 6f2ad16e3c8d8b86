//! Files that are never looked at: what a mapping ignores and what every mapping ignores. Also
//! tells a scan which folders need not be entered. Pure.

use regex::{RegexSet, RegexSetBuilder};

use super::RelPath;
use super::pattern::Pattern;
use super::pattern::decode::Decoded;

/// What every mapping ignores: names that programs give to files they have not finished, and folders that storage
/// makes by itself.
///
/// `.*` takes rsync's `.name.XXXXXX` and `.~tmp~/`, syncthing's `.syncthing.*`, editors' and
/// desktops' dot files. The rest: `.part` (curl, browsers, lftp), `.tmp` (ffmpeg and many),
/// `~` and `.swp` (editors), `.crdownload` (Chromium), `.filepart` (`WinSCP`), `.partial` (rclone),
/// `~syncthing~*` (syncthing on Windows), `.!sync` (Resilio). Synology's `@eaDir` has a whole JPEG as thumbnail of
/// each picture; the others are what was thrown away, and what Windows keeps on a disk.
pub const BUILT_IN_IGNORE: [&str; 15] = [
    ".*",
    "*.part",
    "*.tmp",
    "*~",
    "*.crdownload",
    "*.filepart",
    "*.swp",
    "*.partial",
    "~syncthing~*",
    "*.!sync",
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
];

/// Most memory for all patterns of a list together, in bytes.
const MAX_COMPILED_BYTES: usize = 32 << 20;

/// A mapping's ignored files, the built-in list included. As in `.gitignore`, what lies in an
/// ignored folder is ignored.
#[derive(Debug, Clone)]
pub(super) struct Ignore {
    /// In the order of both sets.
    sources: Vec<String>,
    files: RegexSet,
    /// Folders of which everything below is in `files`.
    full_folders: RegexSet,
}

impl Ignore {
    /// The mapping's own patterns, then the built-in list.
    ///
    /// # Errors
    /// With a sentence for people when all of them together are too large.
    pub(super) fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let built_in: Vec<Pattern> = BUILT_IN_IGNORE
            .iter()
            .filter_map(|source| Pattern::parse(source).ok())
            .collect();
        let all = || patterns.iter().chain(&built_in);
        let set = |expressions: Vec<String>| {
            RegexSetBuilder::new(expressions)
                .size_limit(MAX_COMPILED_BYTES)
                .build()
                .map_err(|_| "the ignored patterns together are too large".to_owned())
        };
        Ok(Self {
            sources: all().map(Pattern::to_string).collect(),
            files: set(all().map(Pattern::expression_with_below).collect())?,
            full_folders: set(all().map(Pattern::expression_of_full_folders).collect())?,
        })
    }

    /// The first pattern that ignores the file.
    pub(super) fn pattern_for(&self, file: &Decoded<'_>) -> Option<&str> {
        // Asking for the pattern costs more than asking whether there is one, and most have none.
        if !self.files.is_match(file.text()) {
            return None;
        }
        let first = self.files.matches(file.text()).iter().next()?;
        self.sources.get(first).map(String::as_str)
    }

    /// The first pattern that ignores everything below the folder, now and whatever it is called.
    pub(super) fn takes_all_below(&self, folder: &RelPath) -> Option<&str> {
        let folder = Decoded::new(folder);
        if !self.full_folders.is_match(folder.text()) {
            return None;
        }
        let first = self.full_folders.matches(folder.text()).iter().next()?;
        self.sources.get(first).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn path(text: &str) -> RelPath {
        RelPath::try_from(text.as_bytes().to_vec()).unwrap()
    }

    fn ignore(patterns: &[&str]) -> Ignore {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|source| Pattern::parse(source).unwrap())
            .collect();
        Ignore::new(&patterns).unwrap()
    }

    #[rstest]
    #[case("a/.hidden.png", ".*")]
    #[case(".thumbs/deep/a.png", ".*")]
    #[case(".big.jpg.0OpATx", ".*")]
    #[case("in/.~tmp~/a.jpg", ".*")]
    #[case(".syncthing.a.jpg.tmp", ".*")]
    #[case("~syncthing~a.jpg.tmp", "*.tmp")]
    #[case("~syncthing~a.jpg", "~syncthing~*")]
    #[case("a.PNG.PART", "*.part")]
    #[case("a.png~", "*~")]
    #[case("a.png.crdownload", "*.crdownload")]
    #[case("a.png.filepart", "*.filepart")]
    #[case("a.png.swp", "*.swp")]
    #[case("a.png.1a2b3c4d.partial", "*.partial")]
    #[case("a.png.!sync", "*.!sync")]
    #[case("unpacking.tmp/a.png", "*.tmp")]
    #[case("2026/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir")]
    #[case("#recycle/a.png", "#recycle")]
    #[case("@Recycle/a.png", "@Recycle")]
    #[case("$Recycle.Bin/S-1-5/$R1A2B3C.png", "$RECYCLE.BIN")]
    #[case("System Volume Information/a.png", "System Volume Information")]
    fn unfinished_files_and_folders_of_storage_are_ignored(
        #[case] file: &str,
        #[case] pattern: &str,
    ) {
        let file = path(file);
        let built_in = ignore(&[]);
        assert_eq!(built_in.pattern_for(&Decoded::new(&file)), Some(pattern));
    }

    #[test]
    fn a_pattern_of_the_mapping_is_told_before_a_built_in_one() {
        let file = path(".hidden.png");
        assert_eq!(
            ignore(&["*.png"]).pattern_for(&Decoded::new(&file)),
            Some("*.png")
        );
    }

    #[test]
    fn every_built_in_pattern_is_a_pattern() {
        assert_eq!(ignore(&[]).sources, BUILT_IN_IGNORE);
    }

    #[rstest]
    #[case("a.png")]
    #[case("part.png")]
    #[case("a.part.png")]
    #[case("a~b.png")]
    #[case("tmp/a.png")]
    fn finished_files_are_not_ignored(#[case] file: &str) {
        assert_eq!(ignore(&[]).pattern_for(&Decoded::new(&path(file))), None);
    }

    #[rstest]
    #[case("drafts/**", "drafts", true)]
    #[case("drafts/**", "Drafts/old", true)]
    #[case("drafts/**", "a/drafts", false)]
    #[case("drafts/*", "drafts", true)]
    #[case("drafts/**/*", "drafts", true)]
    #[case("drafts/?", "drafts", false)]
    #[case("drafts", "a/drafts/b", true)]
    #[case("**/drafts/**", "a/drafts", true)]
    #[case("a/**/b", "a", false)]
    #[case("a/**/b", "a/x/b", true)]
    #[case("a/**/b/**", "a/b", true)]
    #[case("*.png", "a", false)]
    #[case("drafts/**/*.png", "drafts", false)]
    #[case("*/**", "any", true)]
    #[case("**", "any", true)]
    #[case("none", ".git", true)]
    #[case("none", "a/.git/objects", true)]
    #[case("none", "drafts", false)]
    fn a_folder_is_left_out_when_all_below_it_is_ignored(
        #[case] pattern: &str,
        #[case] folder: &str,
        #[case] left_out: bool,
    ) {
        assert_eq!(
            ignore(&[pattern]).takes_all_below(&path(folder)).is_some(),
            left_out
        );
    }

    #[test]
    fn a_file_with_the_name_of_an_emptied_folder_stays() {
        let file = path("drafts");
        assert_eq!(
            ignore(&["drafts/**"]).pattern_for(&Decoded::new(&file)),
            None
        );
    }

    proptest! {
        // Each case compiles some thirty expressions.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_below_a_folder_left_out_would_have_been_taken(
            patterns in prop::collection::vec("([ab.*?/]|\\*\\*/|/\\*\\*|\\{a,b/\\}|\\[!a\\]){1,5}", 1..4),
            folder in "[ab](/[ab.]{1,3}){0,3}",
            below in "[abc.]{1,3}(/[abc.]{1,3}){0,3}",
        ) {
            let patterns: Vec<_> = patterns.iter().filter_map(|p| Pattern::parse(p).ok()).collect();
            let ignore = Ignore::new(&patterns).unwrap();
            let file = format!("{folder}/{below}");
            let (Ok(folder), Ok(file)) = (
                RelPath::try_from(folder.into_bytes()),
                RelPath::try_from(file.into_bytes()),
            ) else { return Ok(()) };
            // A part `.` vanishes from a path, and the file may then not be below the folder.
            let below = file.as_bytes().strip_prefix(folder.as_bytes());
            let is_below = below.is_some_and(|rest| rest.starts_with(b"/"));
            if is_below && ignore.takes_all_below(&folder).is_some() {
                prop_assert!(ignore.pattern_for(&Decoded::new(&file)).is_some());
            }
        }
    }
}
