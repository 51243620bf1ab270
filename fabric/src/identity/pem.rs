//! PEM files of certificates, with the place of each.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{CertificateFile, facts};
use crate::diagnostic::{Code, Effect, Finding, Span};

/// Certificates of one file. Two leaves with their intermediates and two CAs are eight; a path
/// search over hostile ones must stay short.
const MAX_CERTIFICATES: usize = 32;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const CERTIFICATE: &[u8] = b"CERTIFICATE";

/// One line without its end and the space around it.
struct Line<'a> {
    text: &'a [u8],
    span: Span,
}

/// A block that has begun.
struct Block<'a> {
    label: &'a [u8],
    span: Span,
}

pub(super) fn read(bytes: &[u8]) -> CertificateFile {
    let mut file = CertificateFile::default();
    let mut open: Option<Block<'_>> = None;
    let mut loose: Option<Span> = None;
    let mut blocks = 0_usize;
    for line in lines(bytes) {
        if let Some(label) = boundary(line.text, BEGIN) {
            if let Some(block) = open.replace(Block {
                label,
                span: line.span,
            }) {
                file.refuse(
                    block.span,
                    "the block has no end before the next one begins",
                );
            }
        } else if let Some(label) = boundary(line.text, END) {
            let Some(block) = open.take() else {
                file.refuse(line.span, "the block ends here but begins nowhere");
                continue;
            };
            if label != block.label {
                file.refuse(
                    line.span,
                    "the block ends under another label than it begins with",
                );
                continue;
            }
            blocks += 1;
            let range = block.span.start as usize..line.span.end as usize;
            if blocks > MAX_CERTIFICATES {
                let message = format!("more than {MAX_CERTIFICATES} blocks in one file");
                let finding = Finding::new(Code::TooManyCertificates, block.span, message);
                file.findings.push(finding);
                return file;
            }
            file.add(&block, bytes.get(range).unwrap_or_default());
        } else if open.is_none() && line.text.starts_with(b"----") {
            file.refuse(
                line.span,
                "the line looks like the edge of a PEM block but is none",
            );
        } else if open.is_none() && !line.text.is_empty() {
            loose = loose.or(Some(line.span));
        }
    }
    if let Some(block) = open {
        file.refuse(block.span, "the block has no end");
    }
    if blocks == 0 && file.findings.is_empty() {
        let span = loose.unwrap_or(Span::FILE);
        let finding = Finding::new(Code::BadCertificate, span, "the file holds no certificate");
        let help = "put the certificate here as PEM: -----BEGIN CERTIFICATE-----";
        file.findings.push(finding.with_help(help).without_source());
    } else if let Some(span) = loose {
        let message = "text outside of the certificates is ignored";
        let finding = Finding::new(Code::BadCertificate, span, message);
        file.findings.push(finding.with_effect(Effect::Warn));
    }
    file
}

// === impl CertificateFile ===

impl CertificateFile {
    /// Adds the certificate of a complete block, or what is wrong with it.
    fn add(&mut self, block: &Block<'_>, pem: &[u8]) {
        if block.label != CERTIFICATE {
            let label = String::from_utf8_lossy(block.label);
            let message = format!(
                "a PEM block of {} where only certificates belong",
                label.escape_debug()
            );
            // Whatever the block is, it may be a secret.
            let finding = Finding::new(Code::BadCertificate, block.span, message);
            self.findings.push(finding.without_source());
            return;
        }
        let Ok(der) = CertificateDer::from_pem_slice(pem) else {
            return self.refuse(block.span, "the block isn't base64");
        };
        match facts::parse(&der, block.span) {
            Ok(facts) => self.certificates.push(facts),
            Err(why) => self.refuse(block.span, format!("not a certificate: {why}")),
        }
    }

    fn refuse(&mut self, span: Span, message: impl Into<String>) {
        self.findings
            .push(Finding::new(Code::BadCertificate, span, message));
    }
}

/// The label of a block's first or last line.
fn boundary<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(DASHES)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0_usize;
    let split = bytes.split_inclusive(|byte| *byte == b'\n').zip(1_u32..);
    split.map(move |(whole, number)| {
        let line_start = start;
        start += whole.len();
        // A byte order mark at the very start is no text.
        let bom = usize::from(number == 1 && whole.starts_with(b"\xef\xbb\xbf")) * 3;
        let content = whole.get(bom..).unwrap_or_default();
        let text = content.trim_ascii();
        let indent = content.len() - content.trim_ascii_start().len();
        let first = line_start + bom + indent;
        let offset = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Line {
            text,
            span: Span {
                start: offset(first),
                end: offset(first + text.len()),
                line: number,
                column: offset(indent + 1),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["east".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    /// What is found: code, effect, line, column, message.
    fn found(file: &CertificateFile) -> Vec<String> {
        let show = |finding: &Finding| {
            let span = finding.labels[0].0;
            let (code, effect) = (finding.code, finding.effect);
            format!(
                "{code} {effect:?} {}:{} {}",
                span.line, span.column, finding.message
            )
        };
        file.findings.iter().map(show).collect()
    }

    #[test]
    fn places() {
        let (first, second) = (pem(), pem());
        let lines = first.lines().count() as u32;
        let text = format!("\u{feff}{first}\r\n  {}", second.replace('\n', "\r\n"));
        let file = read(text.as_bytes());
        assert_eq!(found(&file), Vec::<String>::new());
        let spans: Vec<_> = file.certificates.iter().map(|facts| facts.span).collect();
        assert_eq!((spans[0].line, spans[0].column), (1, 1));
        assert_eq!((spans[1].line, spans[1].column), (lines + 2, 3));
        for span in spans {
            let begin = &text.as_bytes()[span.start as usize..span.end as usize];
            assert_eq!(begin, b"-----BEGIN CERTIFICATE-----");
        }
    }

    #[test]
    fn what_is_no_certificate() {
        let good = pem();
        let cut = good.replace("-----END CERTIFICATE-----", "");
        let (head, tail) = good.split_at(good.len() / 2);
        for (text, expected, certificates) in [
            (
                String::new(),
                "WEFT0301 Freeze 0:0 the file holds no certificate",
                0,
            ),
            (
                "\n  \n".to_owned(),
                "WEFT0301 Freeze 0:0 the file holds no certificate",
                0,
            ),
            (
                "a\0b\n".to_owned(),
                "WEFT0301 Freeze 1:1 the file holds no certificate",
                0,
            ),
            (
                format!("# the east\n{good}"),
                "WEFT0301 Warn 1:1 text outside of the certificates is ignored",
                1,
            ),
            (
                format!("{good}-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
                "a PEM block of PUBLIC KEY where only certificates belong",
                1,
            ),
            (cut.clone(), "WEFT0301 Freeze 1:1 the block has no end", 0),
            (
                format!("{cut}{good}"),
                "WEFT0301 Freeze 1:1 the block has no end before the next one begins",
                1,
            ),
            (
                "-----END CERTIFICATE-----\n".to_owned(),
                "WEFT0301 Freeze 1:1 the block ends here but begins nowhere",
                0,
            ),
            (
                good.replace("-----END CERTIFICATE-----", "-----END X-----"),
                "the block ends under another label than it begins with",
                0,
            ),
            (
                good.replace("-----BEGIN CERTIFICATE-----", "----BEGIN CERTIFICATE----"),
                "WEFT0301 Freeze 1:1 the line looks like the edge of a PEM block but is none",
                0,
            ),
            (
                format!("{head}!{tail}"),
                "WEFT0301 Freeze 1:1 the block isn't base64",
                0,
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "WEFT0301 Freeze 1:1 not a certificate:",
                0,
            ),
        ] {
            let file = read(text.as_bytes());
            let found = found(&file);
            assert!(found[0].contains(expected), "{text}\n{found:?}");
            assert_eq!(file.certificates.len(), certificates, "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever the bytes are, they are read to the end and blamed inside the file.
        #[test]
        fn any_bytes(
            cut in 0..2000_usize,
            put in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
            twice in proptest::prelude::any::<bool>(),
        ) {
            let mut bytes = pem().into_bytes();
            if twice {
                bytes.extend(pem().into_bytes());
            }
            let cut = cut.min(bytes.len());
            let end = (cut + put.len()).min(bytes.len());
            bytes.splice(cut..end, put);
            let file = read(&bytes);
            for finding in &file.findings {
                let span = finding.labels[0].0;
                assert!(span.start <= span.end && span.end as usize <= bytes.len(), "{span:?}");
            }
        }
    }

    #[test]
    fn too_many() {
        let file = read(pem().repeat(MAX_CERTIFICATES + 5).as_bytes());
        assert_eq!(file.certificates.len(), MAX_CERTIFICATES);
        assert_eq!(file.findings.len(), 1);
        assert_eq!(file.findings[0].code, Code::TooManyCertificates);
    }
}
