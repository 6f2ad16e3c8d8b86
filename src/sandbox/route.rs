//! From a method and a path to the call that is meant. Pure.

use super::endpoint::Endpoint;

/// A call with what its path and query say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which call.
    pub endpoint: Endpoint,
    /// The spreadsheet in the path.
    pub spreadsheet: Option<String>,
    /// What else the path names: a range, a file token.
    pub argument: String,
    /// The query, still encoded.
    pub query: String,
}

impl Target {
    /// Reads a decoded path below `/open-apis/`.
    pub fn read(method: &str, path: &str, query: &str) -> Self {
        let segments: Vec<&str> = path.split('/').collect();
        let (endpoint, spreadsheet, argument) = match (method, segments.as_slice()) {
            ("POST", ["auth", "v3", "tenant_access_token", "internal"]) => {
                (Endpoint::TenantToken, None, "")
            }
            ("POST", ["authen", "v2", "oauth", "token"]) => (Endpoint::UserToken, None, ""),
            ("GET", ["wiki", "v2", "spaces", "get_node"]) => (Endpoint::WikiNode, None, ""),
            ("GET", ["sheets", "v3", "spreadsheets", token, "sheets", "query"]) => {
                (Endpoint::SheetsQuery, Some(*token), "")
            }
            ("GET", ["sheets", "v2", "spreadsheets", token, "metainfo"]) => {
                (Endpoint::MetaInfo, Some(*token), "")
            }
            ("GET", ["drive", "v1", "permissions", token, "members", "auth"]) => {
                (Endpoint::MemberAuth, Some(*token), "")
            }
            ("POST", ["sheets", "v2", "spreadsheets", token, "values_image"]) => {
                (Endpoint::ValuesImage, Some(*token), "")
            }
            ("GET", ["sheets", "v2", "spreadsheets", token, "values", range]) => {
                (Endpoint::ReadValues, Some(*token), *range)
            }
            ("PUT", ["sheets", "v2", "spreadsheets", token, "values"]) => {
                (Endpoint::WriteValues, Some(*token), "")
            }
            ("POST", ["sheets", "v2", "spreadsheets", token, "dimension_range"]) => {
                (Endpoint::AddDimension, Some(*token), "")
            }
            ("GET", ["drive", "v1", "medias", file, "download"]) => {
                (Endpoint::MediaDownload, None, *file)
            }
            _ => (Endpoint::Unknown, None, path),
        };
        Self {
            endpoint,
            spreadsheet: spreadsheet.map(str::to_owned),
            argument: argument.to_owned(),
            query: query.to_owned(),
        }
    }

    /// The value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "POST",
        "sheets/v2/spreadsheets/doc/values_image",
        Endpoint::ValuesImage,
        Some("doc"),
        ""
    )]
    #[case(
        "GET",
        "sheets/v2/spreadsheets/doc/values/s!A2:A",
        Endpoint::ReadValues,
        Some("doc"),
        "s!A2:A"
    )]
    #[case(
        "PUT",
        "sheets/v2/spreadsheets/doc/values",
        Endpoint::WriteValues,
        Some("doc"),
        ""
    )]
    #[case(
        "GET",
        "drive/v1/medias/boxcn1/download",
        Endpoint::MediaDownload,
        None,
        "boxcn1"
    )]
    #[case(
        "GET",
        "sheets/v2/spreadsheets/doc/values_image",
        Endpoint::Unknown,
        None,
        "sheets/v2/spreadsheets/doc/values_image"
    )]
    #[case(
        "GET",
        "sheets/v3/spreadsheets/doc/sheets/query/",
        Endpoint::Unknown,
        None,
        "sheets/v3/spreadsheets/doc/sheets/query/"
    )]
    fn a_path_names_its_call(
        #[case] method: &str,
        #[case] path: &str,
        #[case] endpoint: Endpoint,
        #[case] spreadsheet: Option<&str>,
        #[case] argument: &str,
    ) {
        let target = Target::read(method, path, "");
        assert_eq!(
            (
                target.endpoint,
                target.spreadsheet.as_deref(),
                target.argument.as_str()
            ),
            (endpoint, spreadsheet, argument)
        );
    }

    #[test]
    fn a_query_parameter_is_decoded() {
        let target = Target::read("GET", "wiki/v2/spaces/get_node", "x=1&token=a%20b");
        assert_eq!(target.parameter("token").as_deref(), Some("a b"));
        assert_eq!(target.parameter("obj_type"), None);
    }
}
