//! From what people write to the place they mean.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::Error;

/// A place that can hold a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder of this machine, absolute.
    Local(PathBuf),
    /// Memory of this process: shared by those who give the same name, private without one.
    Memory { name: Option<String>, prefix: Path },
    /// A bucket or container and a prefix in it.
    Cloud { cloud: Cloud, url: Url, prefix: Path },
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    S3,
    Gcs,
    Azure,
}

const KNOWN: &str = "use a folder, or a URL starting with file://, s3://, gs://, az:// or memory://";

impl Location {
    /// Reads a folder or URL. A folder may be relative to the working folder.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(wrong(text, "it is empty; give a folder or a URL".into()));
        }
        if text.contains('\0') {
            return Err(wrong(text, "it holds a NUL character".into()));
        }
        if !is_url(text) {
            return local(text, PathBuf::from(text));
        }
        let url = Url::parse(text).map_err(|error| wrong(text, format!("not a valid URL ({error}); {KNOWN}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&shown(&url), "a lake's URL has no '?' or '#' part".into()));
        }
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => local(text, path),
                Err(()) => Err(wrong(text, "a file URL has three slashes: file:///path/to/folder".into())),
            },
            "memory" => memory(&url),
            "s3" | "s3a" => cloud(Cloud::S3, &url),
            "gs" | "gcs" => cloud(Cloud::Gcs, &url),
            "az" | "azure" | "adl" | "abfs" | "abfss" => cloud(Cloud::Azure, &url),
            other => Err(wrong(&shown(&url), format!("{other}:// is not a kind of store runlake knows; {KNOWN}"))),
        }
    }
}

/// A URL has a scheme of at least two letters, so that a Windows drive is a folder.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_like = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    scheme_like && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"))
}

fn local(text: &str, path: PathBuf) -> Result<Location, Error> {
    std::path::absolute(path)
        .map(Location::Local)
        .map_err(|error| wrong(text, format!("the working folder is not readable: {error}")))
}

fn memory(url: &Url) -> Result<Location, Error> {
    Ok(Location::Memory { name: url.host_str().map(str::to_owned), prefix: prefix(url)? })
}

fn cloud(cloud: Cloud, url: &Url) -> Result<Location, Error> {
    let (scheme, example) = match cloud {
        Cloud::S3 => ("s3", "s3://bucket/prefix"),
        Cloud::Gcs => ("gs", "gs://bucket/prefix"),
        Cloud::Azure => ("az", "az://container/prefix"),
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(&shown(url), format!("it names no bucket; write {example}")));
    }
    let credentials = url.password().is_some() || (cloud != Cloud::Azure && !url.username().is_empty());
    if credentials {
        let problem = "credentials do not belong into the URL; give them by the store's environment variables";
        return Err(wrong(&shown(url), problem.into()));
    }
    let prefix = prefix(url)?;
    // The other spellings mean the same place, but object_store knows one less of them for gs, and a lake should show
    // one spelling only. A URL's scheme cannot be changed in place to one of another class.
    let rest = url.as_str().split_once(':').map_or("", |(_, rest)| rest);
    let azure_account = cloud == Cloud::Azure && !url.username().is_empty();
    let spelled = if azure_account { format!("abfss:{rest}") } else { format!("{scheme}:{rest}") };
    let url = Url::parse(&spelled).map_err(|error| wrong(&spelled, error.to_string()))?;
    Ok(Location::Cloud { cloud, url, prefix })
}

fn prefix(url: &Url) -> Result<Path, Error> {
    let problem = |error: object_store::path::Error| wrong(&shown(url), format!("its path is not usable: {error}"));
    Path::from_url_path(url.path().trim_matches('/')).map_err(problem)
}

/// The URL as text, without credentials.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    if !matches!(url.scheme(), "az" | "azure" | "adl" | "abfs" | "abfss") {
        let _ = url.set_username("");
    }
    url.to_string()
}

fn wrong(location: &str, problem: String) -> Error {
    Error::Location { location: location.to_owned(), problem }
}

#[cfg(test)]
mod tests;
