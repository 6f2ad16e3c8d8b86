//! Recognising a file's format by its content, never by its name.
//!
//! The formats that the API takes are told here, by their own signatures. For everything else only
//! a name is wanted, so that a person reads "WebP" instead of "unknown data"; most of those names
//! come from the `infer` crate. It looks at the head of a file and nothing else: whether the rest
//! is there is for [`completeness`](super::completeness()). It may not open, read or decode.

use std::fmt;

use infer::MatcherType;
use serde::{Deserialize, Serialize};

/// How many bytes of a file's head [`recognise`] wants; fewer when the file is shorter.
pub const HEAD_BYTES: usize = 4096;

/// The suffixes that the API accepts in the name of an image, in lower case
/// (open.feishu.cn, "Write images"). `tif` and `heif` are not among them.
const ACCEPTED_SUFFIXES: [&str; 10] = [
    "png", "jpeg", "jpg", "gif", "bmp", "jfif", "exif", "tiff", "bpg", "heic",
];

/// The formats that the API takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG (JFIF, EXIF).
    Jpeg,
    /// Graphics Interchange Format.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// Tagged Image File Format, BigTIFF included.
    Tiff,
    /// HEIC / HEIF.
    Heic,
    /// Better Portable Graphics.
    Bpg,
}

impl Format {
    /// The suffix, without a dot, that a file of this format should have. The API accepts it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Heic => "heic",
            Self::Bpg => "bpg",
        }
    }

    /// The name for people, as `PNG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Heic => "HEIC",
            Self::Bpg => "BPG",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether the API accepts an image whose name ends in this suffix (without its dot, case ignored).
pub fn suffix_is_accepted(suffix: &str) -> bool {
    ACCEPTED_SUFFIXES
        .iter()
        .any(|accepted| accepted.eq_ignore_ascii_case(suffix))
}

/// What a file's head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// A format that the API takes.
    Accepted(Format),
    /// Only zeros: what a power cut or an allocation leaves of a file that was not written out.
    Blank,
    /// Another format: its name for people, as `WebP`, `PDF`, `text`.
    Other(&'static str),
}

/// Tells the format from the first [`HEAD_BYTES`] bytes of a file.
///
/// A signature is enough to be accepted; whether the file behind it is sound is not asked here. Raw
/// files of cameras that are TIFF by signature (DNG, NEF, ARW) count as TIFF, and the walk over its
/// directories tells them; those with a signature of their own (CR2, ORF, RW2, IIQ) are told here.
pub fn recognise(head: &[u8]) -> Recognised {
    if head.is_empty() {
        return Recognised::Other("empty file");
    }
    if head.iter().all(|byte| *byte == 0) {
        return Recognised::Blank;
    }
    if let Some(format) = by_signature(head) {
        return Recognised::Accepted(format);
    }
    if let Some(recognised) = by_file_type_box(head) {
        return recognised;
    }
    let name = by_prefix(head)
        .or_else(|| by_text(head))
        .or_else(|| by_infer(head))
        .unwrap_or("unknown data");
    Recognised::Other(name)
}

/// The accepted formats whose first bytes are enough. PNG and GIF by four bytes, so that a file
/// whose signature was spoilt in a text-mode transfer is told to be damaged, not to be no image.
fn by_signature(head: &[u8]) -> Option<Format> {
    match head {
        [0x89, b'P', b'N', b'G', ..] => Some(Format::Png),
        // JPEG-LS (SOF55 first) shares nothing with JPEG but its markers, nor CR2 and IIQ with TIFF
        // but its structure.
        [0xff, 0xd8, 0xff, 0xf7, ..]
        | [b'I', b'I', 0x2a, 0, _, _, _, _, b'C', b'R', 2, ..]
        | [b'I', b'I', 0x2a, 0, _, _, _, _, b'I', b'I', b'I', b'I', ..]
        | [b'M', b'M', 0, 0x2a, _, _, _, _, b'M', b'M', b'M', b'M', ..] => None,
        [0xff, 0xd8] | [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'G', b'I', b'F', b'8', ..] => Some(Format::Gif),
        [b'B', b'P', b'G', 0xfb, ..] => Some(Format::Bpg),
        [b'I', b'I', 0x2a | 0x2b, 0, ..] | [b'M', b'M', 0, 0x2a | 0x2b, ..] => Some(Format::Tiff),
        [b'B', b'M', ..] if is_bitmap(head) => Some(Format::Bmp),
        _ => None,
    }
}

/// "BM" also starts words, so the size of the header behind it must be one that exists.
fn is_bitmap(head: &[u8]) -> bool {
    head.get(14..)
        .and_then(<[u8]>::first_chunk)
        .is_some_and(|size| {
            matches!(
                u32::from_le_bytes(*size),
                12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
            )
        })
}

/// ISO base media files: HEIF and its relatives by the brands in their `ftyp` box.
///
/// A file of the general brands `mif1` and `msf1` may hold any codec and says which by another
/// brand (ISO/IEC 23008-12, annexes B to D; AV1 Image File Format, section 6).
fn by_file_type_box(head: &[u8]) -> Option<Recognised> {
    const HEVC: [&[u8]; 6] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"];
    const AV1: [&[u8]; 2] = [b"avif", b"avis"];

    let (size, rest) = head.split_first_chunk::<4>()?;
    let brands = rest.strip_prefix(b"ftyp")?;
    // The box's header is 8 bytes; a size beyond the head, or none, leaves what the head shows.
    let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
    let brands = brands.get(..size.saturating_sub(8)).unwrap_or(brands);
    let major = brands.get(..4).unwrap_or_default();
    let has = |family: &[&[u8]]| {
        brands
            .get(8..)
            .unwrap_or_default()
            .chunks_exact(4)
            .any(|brand| family.contains(&brand))
    };

    let video = match major {
        b"qt  " => Some("QuickTime video"),
        b"crx " => Some("Canon CR3"),
        b"jp2 " | b"jpx " | b"jpm " => Some("JPEG 2000"),
        b"M4A " | b"M4B " => Some("MPEG-4 audio"),
        _ => None,
    };
    Some(if let Some(name) = video {
        Recognised::Other(name)
    } else if AV1.contains(&major) {
        Recognised::Other("AVIF")
    } else if HEVC.contains(&major) || has(&HEVC) {
        Recognised::Accepted(Format::Heic)
    } else if has(&AV1) {
        Recognised::Other("AVIF")
    } else if matches!(major, b"mif1" | b"msf1") {
        Recognised::Accepted(Format::Heic)
    } else if major.starts_with(b"3g") {
        Recognised::Other("3GP video")
    } else {
        Recognised::Other("MP4 video")
    })
}

/// Formats that `infer` does not know, or knows by too little.
fn by_prefix(head: &[u8]) -> Option<&'static str> {
    const PREFIXES: [(&[u8], &str); 26] = [
        (b"\x8aMNG", "MNG"),
        (b"\x8bJNG", "JNG"),
        (b"\xff\xd8\xff\xf7", "JPEG-LS"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\x02\0", "Windows cursor"),
        (b"\x76\x2f\x31\x01", "OpenEXR"),
        (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
        (b"icns", "Apple icon"),
        (b"qoif", "QOI"),
        (b"FLIF", "FLIF"),
        (b"DDS ", "DirectDraw surface"),
        (b"gimp xcf", "GIMP image"),
        (b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
        (b"IIU\0", "Panasonic RW2"),
        (b"IIRO", "Olympus ORF"),
        (b"IIRS", "Olympus ORF"),
        (b"MMOR", "Olympus ORF"),
        (b"FOVb", "Sigma X3F"),
        (b"\0MRM", "Minolta MRW"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"\x1f\x8b", "GZIP"),
        (b"PK\x05\x06", "ZIP"),
        (b"%PDF-", "PDF"),
        (b"%!PS", "PostScript"),
    ];
    let by_table = PREFIXES
        .iter()
        .find(|(prefix, _)| head.starts_with(prefix))
        .map(|(_, name)| *name);
    by_table.or_else(|| match (head, head.get(4..8)) {
        ([b'I' | b'M', ..], _) if matches!(head.get(8..12), Some(b"IIII" | b"MMMM")) => {
            Some("Phase One IIQ")
        }
        // Movies from before `ftyp` start with one of these boxes.
        (_, Some(b"moov" | b"mdat" | b"wide")) => Some("QuickTime video"),
        // `infer` knows but two places where the name of the kind may be.
        ([0x1a, 0x45, 0xdf, 0xa3, ..], _) => {
            let webm = memchr::memmem::find(head, b"\x42\x82\x84webm").is_some();
            Some(if webm { "WebM video" } else { "Matroska video" })
        }
        ([b'P', b'1'..=b'6', white, b'0'..=b'9' | b'#', ..], _) if white.is_ascii_whitespace() => {
            Some("PNM")
        }
        _ => None,
    })
}

/// Text, and the markup that is text.
fn by_text(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Some("text");
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if !is_text(head) {
        return None;
    }
    let xml = head.trim_ascii_start().starts_with(b"<?xml");
    let element = first_element(head);
    let is = |name: &[u8]| {
        element
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if is(b"<svg") || is(b"<svg:svg") {
        return Some("SVG");
    }
    if is(b"<html") || is(b"<!doctype html") {
        return Some("HTML");
    }
    if xml {
        return Some("XML");
    }
    let kind = infer::get(head)
        .filter(|kind| matches!(kind.extension(), "rtf" | "pem" | "html" | "sh"))
        .and_then(|kind| name_of(&kind));
    Some(kind.unwrap_or("text"))
}

/// Whether these bytes read as text: no control character but those that text has, and either
/// UTF-8 or, for the older encodings, long enough for that to mean something.
fn is_text(head: &[u8]) -> bool {
    const LONG_ENOUGH: usize = 64;

    let control =
        |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    if head.iter().any(control) {
        return false;
    }
    match std::str::from_utf8(head) {
        Ok(_) => true,
        // The head may end inside a character.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => true,
        // No encoding of text has the byte FF, and erased memory is full of it.
        Err(_) => head.len() >= LONG_ENOUGH && !head.contains(&0xff),
    }
}

/// The text from the first element on: behind white space, declarations and comments.
fn first_element(text: &[u8]) -> &[u8] {
    let mut rest = text.trim_ascii_start();
    loop {
        let end: &[u8] = if rest.starts_with(b"<?") {
            b"?>"
        } else if rest.starts_with(b"<!--") {
            b"-->"
        } else if is_doctype(rest) && !is_html_doctype(rest) {
            // An internal subset may hold `>`; it ends in `]>`.
            let first_end = memchr::memchr(b'>', rest).unwrap_or(rest.len());
            let subset = memchr::memchr(b'[', rest).is_some_and(|start| start < first_end);
            if subset { b"]>" } else { b">" }
        } else {
            return rest;
        };
        let Some(at) = memchr::memmem::find(rest, end) else {
            return &[];
        };
        rest = rest
            .get(at.saturating_add(end.len())..)
            .unwrap_or_default()
            .trim_ascii_start();
    }
}

fn is_doctype(text: &[u8]) -> bool {
    text.get(..9)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"<!doctype"))
}

fn is_html_doctype(text: &[u8]) -> bool {
    text.get(..14)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"<!doctype html"))
}

/// The long tail.
fn by_infer(head: &[u8]) -> Option<&'static str> {
    infer::get(head).and_then(|kind| name_of(&kind))
}

/// What people call a type that `infer` found; nothing for those that are told above by more than
/// `infer` asks for.
fn name_of(kind: &infer::Type) -> Option<&'static str> {
    Some(match kind.extension() {
        // Told above by more than these few bytes; the last three are two bytes, as good as chance.
        "png" | "jpg" | "gif" | "bmp" | "tif" | "heif" | "obj" | "Z" | "der" => return None,
        "webp" => "WebP",
        "avif" => "AVIF",
        "jxl" => "JPEG XL",
        "jp2" => "JPEG 2000",
        "jxr" => "JPEG XR",
        "cr2" => "Canon CR2",
        "psd" => "Photoshop (PSD)",
        "ico" => "Windows icon (ICO)",
        "djvu" => "DjVu",
        "dwg" => "AutoCAD drawing",
        "ora" => "OpenRaster",
        "mp4" | "m4v" => "MP4 video",
        "mov" => "QuickTime video",
        "avi" => "AVI video",
        "wmv" => "Windows Media video",
        "mpg" => "MPEG video",
        "flv" => "Flash video",
        "mp3" => "MP3 audio",
        "wav" => "WAV audio",
        "flac" => "FLAC audio",
        "ogg" | "opus" => "Ogg audio",
        "pdf" => "PDF",
        "ps" => "PostScript",
        "rtf" => "RTF",
        "doc" | "docx" => "Word document",
        "xls" | "xlsx" => "Excel workbook",
        "ppt" | "pptx" => "PowerPoint presentation",
        "odt" | "ods" | "odp" => "OpenDocument",
        "epub" | "mobi" => "e-book",
        "zip" => "ZIP",
        "gz" => "GZIP",
        "bz2" => "BZIP2",
        "xz" => "XZ",
        "zst" => "Zstandard",
        "7z" => "7-Zip",
        "rar" => "RAR",
        "tar" => "TAR",
        "sqlite" => "SQLite database",
        "dcm" => "DICOM",
        "html" => "HTML",
        "xml" => "XML",
        "sh" => "shell script",
        "pem" => "PEM certificate",
        "elf" => "ELF program",
        "exe" | "dll" => "Windows program",
        "mach" => "Mach-O program",
        "wasm" => "WebAssembly",
        _ => match kind.matcher_type() {
            MatcherType::App => "program",
            MatcherType::Archive => "archive",
            MatcherType::Audio => "audio",
            MatcherType::Book => "e-book",
            MatcherType::Doc => "document",
            MatcherType::Font => "font",
            MatcherType::Video => "video",
            MatcherType::Text => "text",
            MatcherType::Image => "an image format that is not accepted",
            MatcherType::Custom => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A bitmap's file header, then the size of its second header.
    fn bitmap(second_header: u8) -> Vec<u8> {
        let mut head = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
        head.extend([second_header, 0, 0, 0, 1]);
        head
    }

    /// An `ftyp` box with a major brand and compatible ones.
    fn file_type(major: &str, compatible: &[&str]) -> Vec<u8> {
        let mut head = vec![0, 0, 0, u8::try_from(16 + 4 * compatible.len()).unwrap()];
        head.extend(b"ftyp");
        head.extend(major.as_bytes());
        head.extend([0; 4]);
        head.extend(compatible.concat().as_bytes());
        head.extend(b"\0\0\0\x08free");
        head
    }

    #[rstest]
    #[case::png(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), Format::Png)]
    #[case::png_spoilt_in_a_text_transfer(b"\x89PNG\n\x1a\n\0\0\0\rIHDR".to_vec(), Format::Png)]
    #[case::jfif(b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec(), Format::Jpeg)]
    #[case::exif(b"\xff\xd8\xff\xe1\x1a\xbcExif\0\0".to_vec(), Format::Jpeg)]
    #[case::bare_jpeg(b"\xff\xd8\xff\xdb".to_vec(), Format::Jpeg)]
    #[case::first_bytes_of_a_jpeg(b"\xff\xd8".to_vec(), Format::Jpeg)]
    #[case::gif_of_1987(b"GIF87a\x01\0".to_vec(), Format::Gif)]
    #[case::gif_of_1989(b"GIF89a\x01\0".to_vec(), Format::Gif)]
    #[case::bmp_of_os2(bitmap(12), Format::Bmp)]
    #[case::bmp_of_windows(bitmap(40), Format::Bmp)]
    #[case::bmp_with_colour_profile(bitmap(124), Format::Bmp)]
    #[case::tiff_little_endian(b"II\x2a\0\x08\0\0\0".to_vec(), Format::Tiff)]
    #[case::tiff_big_endian(b"MM\0\x2a\0\0\0\x08".to_vec(), Format::Tiff)]
    #[case::bigtiff_little_endian(b"II\x2b\0\x08\0\0\0".to_vec(), Format::Tiff)]
    #[case::bigtiff_big_endian(b"MM\0\x2b\0\x08\0\0".to_vec(), Format::Tiff)]
    #[case::bpg(b"BPG\xfb\x20\0".to_vec(), Format::Bpg)]
    #[case::heic(file_type("heic", &["mif1", "heic"]), Format::Heic)]
    #[case::heix(file_type("heix", &[]), Format::Heic)]
    #[case::heim(file_type("heim", &[]), Format::Heic)]
    #[case::heis(file_type("heis", &[]), Format::Heic)]
    #[case::hevc_sequence(file_type("hevc", &["msf1"]), Format::Heic)]
    #[case::hevx_sequence(file_type("hevx", &[]), Format::Heic)]
    #[case::heif_of_any_codec(file_type("mif1", &["miaf"]), Format::Heic)]
    #[case::heif_sequence(file_type("msf1", &[]), Format::Heic)]
    #[case::heif_that_also_has_an_avif(file_type("mif1", &["avif", "heic"]), Format::Heic)]
    #[case::heic_by_a_compatible_brand(file_type("MiHE", &["heix"]), Format::Heic)]
    fn what_the_api_takes_is_accepted(#[case] head: Vec<u8>, #[case] format: Format) {
        assert_eq!(recognise(&head), Recognised::Accepted(format));
    }

    #[rstest]
    #[case::empty(b"".to_vec(), "empty file")]
    #[case::erased(vec![0xff; 4096], "unknown data")]
    #[case::noise(b"\x03\x91\xfe\x00\x55\xaa\x12\x80\x99".to_vec(), "unknown data")]
    #[case::webp(b"RIFF\x24\0\0\0WEBPVP8 ".to_vec(), "WebP")]
    #[case::avif(file_type("avif", &["mif1"]), "AVIF")]
    #[case::avif_sequence(file_type("avis", &["msf1"]), "AVIF")]
    #[case::avif_under_a_general_brand(file_type("mif1", &["miaf", "avif"]), "AVIF")]
    #[case::jpeg_xl(b"\0\0\0\x0cJXL \r\n\x87\n".to_vec(), "JPEG XL")]
    #[case::jpeg_xl_codestream(b"\xff\x0a\x10\x20\0".to_vec(), "JPEG XL")]
    #[case::jpeg_2000(b"\0\0\0\x0cjP  \r\n\x87\n".to_vec(), "JPEG 2000")]
    #[case::jpeg_2000_codestream(b"\xff\x4f\xff\x51\0\x29".to_vec(), "JPEG 2000")]
    #[case::jpeg_ls(b"\xff\xd8\xff\xf7\0\x0b".to_vec(), "JPEG-LS")]
    #[case::jpeg_xr(b"II\xbc\x01\x08\0\0\0".to_vec(), "JPEG XR")]
    #[case::canon_raw(b"II\x2a\0\x10\0\0\0CR\x02\0".to_vec(), "Canon CR2")]
    #[case::phase_one_raw(b"II\x2a\0\x10\0\0\0IIII\x99\0".to_vec(), "Phase One IIQ")]
    #[case::olympus_raw(b"IIRO\x08\0\0\0".to_vec(), "Olympus ORF")]
    #[case::olympus_raw_big_endian(b"MMOR\0\0\0\x08".to_vec(), "Olympus ORF")]
    #[case::panasonic_raw(b"IIU\0\x18\0\0\0".to_vec(), "Panasonic RW2")]
    #[case::fujifilm_raw(b"FUJIFILMCCD-RAW 0201".to_vec(), "Fujifilm RAF")]
    #[case::sigma_raw(b"FOVb\0\0\x02\0".to_vec(), "Sigma X3F")]
    #[case::minolta_raw(b"\0MRM\0\0\x10\0".to_vec(), "Minolta MRW")]
    #[case::canon_older_raw(b"II\x1a\0\0\0HEAPCCDR\x02\0".to_vec(), "Canon CRW")]
    #[case::canon_newer_raw(file_type("crx ", &["isom"]), "Canon CR3")]
    #[case::photoshop(b"8BPS\0\x01\0\0\0\0\0\0\0\x03".to_vec(), "Photoshop (PSD)")]
    #[case::icon(b"\0\0\x01\0\x01\0\x10\x10".to_vec(), "Windows icon (ICO)")]
    #[case::portable_map(b"P6\n640 480\n255\n\x01\x02\x00".to_vec(), "PNM")]
    #[case::animated_png_relative(b"\x8aMNG\r\n\x1a\n".to_vec(), "MNG")]
    #[case::mp4(file_type("isom", &["iso2", "avc1"]), "MP4 video")]
    #[case::quicktime(file_type("qt  ", &[]), "QuickTime video")]
    #[case::old_quicktime(b"\0\0\x10\0moov\0\0\0\x6cmvhd".to_vec(), "QuickTime video")]
    #[case::phone_video(file_type("3gp5", &[]), "3GP video")]
    #[case::matroska(
        b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x01".to_vec(),
        "Matroska video"
    )]
    #[case::webm(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm".to_vec(), "WebM video")]
    #[case::pdf(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec(), "PDF")]
    #[case::zip(b"PK\x03\x04\x14\0\0\0\x08\0".to_vec(), "ZIP")]
    #[case::gzip(b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "GZIP")]
    #[case::elf({ let mut elf = b"\x7fELF\x02\x01\x01".to_vec(); elf.resize(64, 0); elf }, "ELF program")]
    #[case::svg(b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(), "SVG")]
    #[case::svg_behind_its_preamble(
        b"\xef\xbb\xbf\n<?xml version=\"1.0\"?>\n<!-- <html> -->\n<!DOCTYPE svg PUBLIC \"-//W3C//\" \
          [ <!ENTITY a \"b\"> ]>\n<svg:svg>".to_vec(),
        "SVG"
    )]
    #[case::xml(b"<?xml version=\"1.0\"?><rss><svg/></rss>".to_vec(), "XML")]
    #[case::xml_without_an_end(b"<?xml version=\"1.0\"".to_vec(), "XML")]
    #[case::html(b"<!doctype html><title>Sign in</title>".to_vec(), "HTML")]
    #[case::html_without_doctype(b"\r\n <HTML lang=en>".to_vec(), "HTML")]
    #[case::xhtml(b"<?xml version=\"1.0\"?><!DOCTYPE html><html/>".to_vec(), "HTML")]
    #[case::script(b"#!/bin/sh\necho\n".to_vec(), "shell script")]
    #[case::text("poster für die Lobby".as_bytes().to_vec(), "text")]
    #[case::text_cut_inside_a_character("大堂海报".as_bytes()[..11].to_vec(), "text")]
    #[case::text_of_another_age(b"\xb4\xf3\xcc\xc3\xba\xa3\xb1\xa8".repeat(10), "text")]
    #[case::text_in_utf16(b"\xff\xfea\0b\0".to_vec(), "text")]
    #[case::text_that_starts_like_a_bitmap(b"BMW and other makes of cars".to_vec(), "text")]
    #[case::text_about_gifs(b"GIF is a format".to_vec(), "text")]
    #[case::bitmap_with_an_odd_header(bitmap(41), "unknown data")]
    fn everything_else_gets_its_name_for_people(#[case] head: Vec<u8>, #[case] name: &'static str) {
        assert_eq!(recognise(&head), Recognised::Other(name));
    }

    #[rstest]
    fn zeros_are_nothing_yet(#[values(1, 7, 4096)] length: usize) {
        assert_eq!(recognise(&vec![0; length]), Recognised::Blank);
    }

    #[rstest]
    fn every_suffix_of_ours_is_one_that_the_api_accepts(
        #[values(
            Format::Png,
            Format::Jpeg,
            Format::Gif,
            Format::Bmp,
            Format::Tiff,
            Format::Heic,
            Format::Bpg
        )]
        format: Format,
    ) {
        assert!(suffix_is_accepted(format.suffix()), "{format}");
    }

    #[rstest]
    fn the_suffixes_of_the_api_are_accepted_in_any_case(
        #[values(
            "PNG", "JPEG", "JPG", "GIF", "BMP", "JFIF", "EXIF", "TIFF", "BPG", "HEIC", "jpg", "Png"
        )]
        suffix: &str,
    ) {
        assert!(suffix_is_accepted(suffix));
    }

    #[rstest]
    fn other_suffixes_are_not_accepted(
        #[values("", ".png", "tif", "heif", "webp", "pngx", "pn", " png")] suffix: &str,
    ) {
        assert!(!suffix_is_accepted(suffix));
    }

    #[test]
    fn formats_are_shown_by_their_names() {
        assert_eq!(
            format!("{} [{:>5}]", Format::Jpeg, Format::Png),
            "JPEG [  PNG]"
        );
    }

    proptest! {
        #[test]
        fn any_head_gets_an_answer(
            start in prop_oneof![
                Just(b"".to_vec()), Just(b"PK\x03\x04".to_vec()), Just(b"<!DOCTYPE svg [".to_vec()),
                Just(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec()), Just(b"BM".to_vec()),
                Just(b"\0\0\0\x18ftyp".to_vec()), Just(b"\xff\xff\xff\xffftyp".to_vec()),
                Just(b"\x1a\x45\xdf\xa3".to_vec()), Just(b"<?xml".to_vec()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let head = [start, rest].concat();
            let name = match recognise(&head) {
                Recognised::Accepted(format) => format.name(),
                Recognised::Blank => return Ok(()),
                Recognised::Other(name) => name,
            };
            prop_assert!(!name.is_empty());
        }
    }
}
