//! The API's calls that the stand-in knows, by name. Names only: what a call does is `work`'s.

use serde::{Deserialize, Serialize};

/// One call of the API, below `/open-apis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST auth/v3/tenant_access_token/internal`.
    TenantToken,
    /// `POST authen/v2/oauth/token`.
    UserToken,
    /// `GET wiki/v2/spaces/get_node`.
    WikiNode,
    /// `GET sheets/v3/spreadsheets/{token}/sheets/query`.
    SheetsQuery,
    /// `GET sheets/v2/spreadsheets/{token}/metainfo`.
    MetaInfo,
    /// `GET drive/v1/permissions/{token}/members/auth`.
    MemberAuth,
    /// `POST sheets/v2/spreadsheets/{token}/values_image`.
    ValuesImage,
    /// `GET sheets/v2/spreadsheets/{token}/values/{range}`.
    ReadValues,
    /// `PUT sheets/v2/spreadsheets/{token}/values`.
    WriteValues,
    /// `POST sheets/v2/spreadsheets/{token}/dimension_range`.
    AddDimension,
    /// `GET drive/v1/medias/{fileToken}/download`.
    MediaDownload,
    /// Any other path or method.
    Unknown,
}

impl Endpoint {
    /// Whether the call changes a spreadsheet, and so must be the only one in flight for it.
    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::ValuesImage | Self::WriteValues | Self::AddDimension
        )
    }

    /// Whether the call carries a JSON body.
    pub fn has_body(self) -> bool {
        self.writes() || self.gives_token()
    }

    /// Whether the call hands out a token: such a call carries none and is not paced.
    pub fn gives_token(self) -> bool {
        matches!(self, Self::TenantToken | Self::UserToken)
    }

    /// Whether the answers use the seven-digit codes of the third version of the sheets API.
    pub fn third_version(self) -> bool {
        self == Self::SheetsQuery
    }
}
