//! Content types by file name.

/// Endings that MLflow shows as plain text, whatever the usual table says. The last two are whole names.
const PLAIN: &[&str] = &[
    "txt",
    "log",
    "err",
    "cfg",
    "conf",
    "cnf",
    "cf",
    "ini",
    "properties",
    "prop",
    "hocon",
    "toml",
    "yaml",
    "yml",
    "xml",
    "json",
    "js",
    "py",
    "py3",
    "csv",
    "tsv",
    "md",
    "rst",
    "ipynb",
    "MLmodel",
    "MLproject",
];

/// The usual types of the endings that people log.
const USUAL: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eps", "application/postscript"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("h5", "application/x-hdf5"),
    ("heic", "image/heic"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("m4a", "audio/mp4"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("ps", "application/postscript"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ttf", "font/ttf"),
    ("wasm", "application/wasm"),
    ("wav", "audio/x-wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("zip", "application/zip"),
];

/// The content type to serve a file of this name with. Unknown ones are `application/octet-stream`.
pub fn content_type(file_name: &str) -> &'static str {
    // A name that only begins with a dot has no ending.
    let ending = match file_name.rsplit_once('.') {
        Some((stem, ending)) if !stem.trim_start_matches('.').is_empty() => ending,
        _ => file_name,
    };
    if PLAIN.contains(&ending) {
        return "text/plain";
    }
    let lower = ending.to_ascii_lowercase();
    let has_ending = ending.len() < file_name.len();
    let usual = USUAL.iter().find(|(known, _)| has_ending && *known == lower);
    usual.map_or("application/octet-stream", |(_, content_type)| content_type)
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn types_follow_the_name() {
        for (name, expected) in [
            ("a.json", "text/plain"),
            ("a.b.yaml", "text/plain"),
            ("MLmodel", "text/plain"),
            ("x.MLproject", "text/plain"),
            ("plot.png", "image/png"),
            ("PLOT.PNG", "image/png"),
            ("page.html", "text/html"),
            ("report.pdf", "application/pdf"),
            ("model.pkl", "application/octet-stream"),
            ("weights.bin", "application/octet-stream"),
            ("data.parquet", "application/octet-stream"),
            ("png", "application/octet-stream"),
            (".png", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
