//! What an answer asks of us: one pure table from HTTP status and code to a class.
//!
//! The code decides before the status: throttling comes as HTTP 429 and as 400, failures come with 200.
//! Codes from the vendor's page "Server error codes" (open.feishu.cn, ugjM14COyUjL4ITN).

/// What an answer that is no success asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many calls: wait, then the same again.
    Throttled(Scope),
    /// It will pass: back off, then the same again, for as long as it takes.
    Busy,
    /// The API was not reached: nobody answered, or somebody else did (a gateway, a captive portal). It will
    /// pass, and concerns every call.
    Unreached,
    /// The token is no longer good: fetch another, once.
    Token,
    /// The app or its credentials are wrong; nothing can be sent until a person mends it.
    Credentials,
    /// The month's calls are spent.
    Quota,
    /// The document cannot be written.
    Document,
    /// This sheet or cell cannot be written.
    Cell,
    /// The document takes no more.
    Full,
    /// This image is not taken.
    Image,
    /// Not in the table: busy for a bounded number of tries, then a person must look.
    Unknown,
}

impl Class {
    /// The class in one word, for counting.
    pub fn label(self) -> &'static str {
        match self {
            Self::Throttled(Scope::App) => "throttled_app",
            Self::Throttled(Scope::Document) => "throttled_document",
            Self::Busy => "busy",
            Self::Unreached => "unreached",
            Self::Token => "token",
            Self::Credentials => "credentials",
            Self::Quota => "quota",
            Self::Document => "document",
            Self::Cell => "cell",
            Self::Full => "full",
            Self::Image => "image",
            Self::Unknown => "unknown",
        }
    }
}

/// Whom a throttling concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All calls of the app.
    App,
    /// Calls for one document.
    Document,
}

/// The class of an answer with this HTTP status and this `code`, which is `None` when the answer was
/// not the API's JSON. Code 0 with a 2xx status is a success and not asked about here.
pub fn classify(status: u16, code: Option<i64>) -> Class {
    let by_code = code.and_then(|code| match code {
        99_991_400 => Some(Class::Throttled(Scope::App)),
        90_217 | 1_310_217 => Some(Class::Throttled(Scope::Document)),
        90_235 | 1_310_235 | 90_242 | 1_310_242 | 90_228 | 90_203 | 90_399 | 1_315_201
        | 1_315_203 | 1_315_210 | 1500 | 1503 | 2200 | 5000 | 600 => Some(Class::Busy),
        99_991_661 | 99_991_663 | 99_991_664 | 99_991_665 | 99_991_668 | 99_991_671
        | 99_991_677 => Some(Class::Token),
        10_003 | 10_014 | 10_015 | 99_991_543 | 99_991_662 | 99_991_673 | 99_991_401
        | 99_991_672 | 99_991_679 | 99_991_676 => Some(Class::Credentials),
        99_991_403 => Some(Class::Quota),
        90_213 | 1_310_213 | 91_403 | 90_214 | 1_310_214 | 1_310_249 | 91_402 | 1002 | 131_005
        | 131_006 => Some(Class::Document),
        90_211 | 1_310_211 | 90_215 | 1_310_215 | 90_202 | 1_310_202 | 90_212 | 90_218
        | 1_310_218 => Some(Class::Cell),
        90_226 | 1_310_226 | 1_310_247 | 90_219 => Some(Class::Full),
        90_204 | 90_216 | 90_222 | 90_227 | 9499 => Some(Class::Image),
        _ => None,
    });
    by_code.unwrap_or(match (status, code) {
        (429, _) => Class::Throttled(Scope::App),
        (401, _) => Class::Token,
        (413, _) => Class::Image,
        (_, None) => Class::Unreached,
        (500.., _) | (_, Some(0)) => Class::Busy,
        (_, Some(_)) => Class::Unknown,
    })
}

/// What a person can do about a code, as the end of a sentence.
pub fn advice(class: Class, code: Option<i64>) -> &'static str {
    match (class, code) {
        (_, Some(10_003 | 10_014 | 10_015 | 99_991_543)) => {
            "check app_id and the app's secret against the developer console (Credentials & Basic Info)"
        }
        (_, Some(99_991_401)) => {
            "add this machine's address to the app's allow-list in the developer console (Security Settings)"
        }
        (_, Some(99_991_672 | 99_991_676 | 99_991_679)) => {
            "in the developer console, under Permissions & Scopes, add `sheets:spreadsheet` (for a document in a wiki `wiki:wiki:readonly` too), then create a version of the app and publish it"
        }
        (_, Some(99_991_662 | 99_991_673)) => "enable the app in the admin console",
        (_, Some(91_402)) => {
            "check the spreadsheet's token; a document in a wiki is named by its whole /wiki/ URL"
        }
        (_, Some(131_005)) => "copy the wiki page's address into `spreadsheet` again",
        (_, Some(90_213 | 1_310_213 | 91_403 | 131_006)) => {
            "add the app to the document (… > More > Add document app; in a wiki on its wiki page) with permission to edit"
        }
        (_, Some(90_212)) => "add rows or columns to the sheet, or change the rule",
        (_, Some(90_211 | 1_310_211 | 90_215 | 1_310_215)) => {
            "check `sheet` in the configuration against the document's tabs"
        }
        (_, Some(90_218 | 1_310_218)) => "unlock the cell or let the app edit it",
        (_, Some(90_226 | 1_310_226 | 1_310_247)) => {
            "a spreadsheet holds at most 4,000 distinct images: remove some, or use another spreadsheet"
        }
        (_, Some(90_219)) => {
            "the sheet has reached its limit of cells: remove some, or use another one"
        }
        // Two meanings, and a repeat helps with neither: the cell is not known to hold the image.
        (_, Some(90_216)) => {
            "the API says that nothing changed or that the request was wrong: look at the cell, and replace the file if the image is missing"
        }
        (_, Some(90_222 | 90_227)) => "make the image smaller",
        (Class::Throttled(_) | Class::Busy | Class::Unreached, _) => {
            "pixcell tries again by itself"
        }
        (Class::Token, _) => "pixcell fetches a new token",
        (Class::Credentials, _) => "check the app in the developer console",
        (Class::Quota, _) => {
            "the app's monthly calls are spent: wait for the next month or buy more"
        }
        (Class::Document, _) => "check that the document exists and that the app may edit it",
        (Class::Cell, _) => "check the rule's cell",
        (Class::Full, _) => "remove images, or use another spreadsheet",
        (Class::Image, _) => "replace the file with an image that the product accepts",
        // A success for something else.
        (Class::Unknown, None) => {
            "pixcell repeats it a few times; if that does not help, look at both places"
        }
        (Class::Unknown, _) => "look the code up in the vendor's list of error codes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[99_991_400], Class::Throttled(Scope::App))]
    #[case(&[90_217, 1_310_217], Class::Throttled(Scope::Document))]
    #[case(&[90_235, 1_310_235, 90_242, 1_310_242, 90_228, 90_203, 1_315_201, 1_315_203, 1_315_210,
             1500, 2200, 5000, 600], Class::Busy)]
    #[case(&[99_991_661, 99_991_663, 99_991_664, 99_991_665, 99_991_668, 99_991_671, 99_991_677],
           Class::Token)]
    #[case(&[10_003, 10_014, 10_015, 99_991_543, 99_991_662, 99_991_673, 99_991_401, 99_991_672,
             99_991_679, 99_991_676], Class::Credentials)]
    #[case(&[99_991_403], Class::Quota)]
    #[case(&[90_213, 1_310_213, 91_403, 90_214, 1_310_214, 1_310_249, 91_402, 1002, 131_005,
             131_006], Class::Document)]
    #[case(&[90_211, 1_310_211, 90_215, 1_310_215, 90_202, 1_310_202, 90_212, 90_218, 1_310_218],
           Class::Cell)]
    #[case(&[90_226, 1_310_226, 1_310_247, 90_219], Class::Full)]
    #[case(&[90_204, 90_216, 90_222, 90_227, 9499], Class::Image)]
    #[case(&[424_242], Class::Unknown)]
    fn a_code_has_its_class_whatever_the_status(#[case] codes: &[i64], #[case] class: Class) {
        for code in codes {
            for status in [200, 400, 403, 404] {
                assert_eq!(classify(status, Some(*code)), class, "{status} {code}");
            }
        }
    }

    #[rstest]
    #[case(429, None, Class::Throttled(Scope::App))]
    #[case(429, Some(90_217), Class::Throttled(Scope::Document))]
    #[case(401, None, Class::Token)]
    #[case(401, Some(424_242), Class::Token)]
    #[case(413, None, Class::Image)]
    #[case(200, None, Class::Unreached)]
    #[case(302, None, Class::Unreached)]
    #[case(404, None, Class::Unreached)]
    #[case(500, Some(424_242), Class::Busy)]
    #[case(503, None, Class::Unreached)]
    #[case(400, Some(0), Class::Busy)]
    fn without_a_known_code_the_status_decides(
        #[case] status: u16,
        #[case] code: Option<i64>,
        #[case] class: Class,
    ) {
        assert_eq!(classify(status, code), class);
    }
}
