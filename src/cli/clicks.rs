//! What to click in the product to mend what `check --online` found, in the words of Feishu's and of Lark's
//! menus. Words only: asks nothing and decides nothing.
//!
//! Menus are those of the vendor's pages "How to give an app access to documents" and "Apply for API
//! permissions" (open.feishu.cn), and for protections of Lark's help on protected ranges.

use url::Url;

use crate::feishu::{CallError, Class, Merge};

/// Which product a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    Feishu,
    Lark,
    /// Another host, as a proxy's or a test's.
    Unknown,
}

/// What is to be mended.
#[derive(Debug, Clone, Copy)]
pub enum Mend {
    /// The app's id or secret.
    Secret,
    /// The addresses that may call.
    Addresses,
    /// The app's scopes.
    Scopes,
    /// The app is switched off.
    Enable,
    /// What the app may do with the document.
    Access,
    /// Which document is named.
    Document,
    /// Which sheet is named.
    Sheet,
    /// A hidden sheet.
    Hidden,
    /// A grid that is too small.
    Grid,
    /// Merged cells.
    Merged(Merge),
    /// Protected cells.
    Protected,
}

impl Mend {
    /// What mends the cause of a refusal, where a click does.
    pub fn of(error: &CallError) -> Option<Self> {
        let refusal = error.refusal()?;
        match (refusal.class, refusal.code) {
            (_, Some(99_991_401)) => Some(Self::Addresses),
            (_, Some(99_991_672 | 99_991_676 | 99_991_679)) => Some(Self::Scopes),
            (_, Some(99_991_662 | 99_991_673)) => Some(Self::Enable),
            (_, Some(90_213 | 1_310_213 | 91_403 | 131_006)) => Some(Self::Access),
            (Class::Credentials, _) => Some(Self::Secret),
            (Class::Document, _) => Some(Self::Document),
            _ => None,
        }
    }
}

/// Tells what to click.
#[derive(Debug)]
pub struct Clicks {
    product: Product,
    app_id: String,
}

impl Clicks {
    /// For the product at this address and this app.
    pub fn new(endpoint: &Url, app_id: &str) -> Self {
        let host = endpoint.host_str().unwrap_or_default();
        let product = match host {
            _ if host.ends_with("feishu.cn") => Product::Feishu,
            _ if host.ends_with("larksuite.com") => Product::Lark,
            _ => Product::Unknown,
        };
        Self {
            product,
            app_id: app_id.to_owned(),
        }
    }

    /// The words on a button or menu; Feishu's are mostly read in Chinese.
    fn words(&self, english: &str, chinese: &str) -> String {
        match self.product {
            Product::Feishu => format!("{english} ({chinese})"),
            Product::Lark | Product::Unknown => english.to_owned(),
        }
    }

    /// One line without its end.
    pub fn to(&self, mend: Mend) -> String {
        let words = |english, chinese| self.words(english, chinese);
        let app = &self.app_id;
        let console = match self.product {
            Product::Feishu => format!("https://open.feishu.cn/app/{app}"),
            Product::Lark => format!("https://open.larksuite.com/app/{app}"),
            Product::Unknown => format!("the developer console, app {app}"),
        };
        match mend {
            Mend::Secret => format!(
                "{console}: under {} compare the App ID with `app_id` and copy the App Secret",
                words("Credentials & Basic Info", "凭证与基础信息")
            ),
            Mend::Addresses => format!(
                "{console}: under {} add this machine's address to the list of those that may call",
                words("Security Settings", "安全设置")
            ),
            Mend::Scopes => format!(
                "{console}: under {}, add `sheets:spreadsheet` (for a document in a wiki `wiki:wiki:readonly` too); then under {} create a version of the app and publish it",
                words("Permissions & Scopes", "权限管理"),
                words("Version Management & Release", "版本管理与发布"),
            ),
            Mend::Enable => {
                let admin = match self.product {
                    Product::Feishu => "https://feishu.cn/admin",
                    Product::Lark => "https://www.larksuite.com/admin",
                    Product::Unknown => "the admin console",
                };
                format!(
                    "{admin}: an administrator enables the app under {}",
                    words("Workplace > App Management", "工作台 > 应用管理")
                )
            }
            Mend::Access => format!(
                "the document: … > {} > {}; search for the app and choose {}; in a wiki on its wiki page",
                words("More", "更多"),
                words("Add document app", "添加文档应用"),
                words("Can edit", "可编辑"),
            ),
            Mend::Document => format!(
                "open the document in a browser and copy its whole address into `spreadsheet`; a deleted one lies in the {}",
                words("Trash", "回收站")
            ),
            Mend::Sheet => "open the document, click the tab that is meant, and put its name, or the `?sheet=` of the address then, into `sheet`".to_owned(),
            Mend::Hidden => format!(
                "the document: right-click any tab, then {}",
                words("Unhide", "取消隐藏")
            ),
            Mend::Grid => format!(
                "the sheet: rows are added below the last one, columns by a right-click on the last one's letter > {}",
                words("Insert", "插入列")
            ),
            Mend::Merged(merge) => format!(
                "the sheet: select {}:{}, then click {} in the toolbar, which splits them",
                merge.first,
                merge.last,
                words("Merge cells", "合并单元格")
            ),
            Mend::Protected => format!(
                "the sheet: {} shows the protections: remove this one, or let the app edit it; who may {} the document edits protected cells as well",
                words("Menu > Data > Protect Range", "菜单 > 数据 > 保护范围"),
                words("manage", "管理"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "https://open.feishu.cn",
        Mend::Scopes,
        "https://open.feishu.cn/app/cli_a: under Permissions & Scopes (权限管理), add"
    )]
    #[case(
        "https://open.larksuite.com",
        Mend::Scopes,
        "https://open.larksuite.com/app/cli_a: under Permissions & Scopes, add"
    )]
    #[case(
        "http://127.0.0.1:1",
        Mend::Scopes,
        "the developer console, app cli_a: under Permissions & Scopes, add"
    )]
    #[case(
        "https://open.feishu.cn",
        Mend::Access,
        "the document: … > More (更多) > Add document app (添加文档应用)"
    )]
    #[case(
        "https://open.larksuite.com",
        Mend::Access,
        "the document: … > More > Add document app"
    )]
    #[case("https://open.feishu.cn", Mend::Enable, "https://feishu.cn/admin")]
    #[case(
        "https://open.larksuite.com",
        Mend::Enable,
        "https://www.larksuite.com/admin"
    )]
    fn each_product_has_its_places_and_words(
        #[case] endpoint: &str,
        #[case] mend: Mend,
        #[case] told: &str,
    ) {
        let clicks = Clicks::new(&endpoint.parse().unwrap(), "cli_a");
        let line = clicks.to(mend);
        assert!(line.starts_with(told), "{line}");
    }
}
