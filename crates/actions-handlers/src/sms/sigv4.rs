//! Amazon's request signature, version 4, for requests without a query.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use sha2::{Digest, Sha256};

use actions_domain::Timestamp;

use crate::webhook::signature::{hex, hmac_sha256};

/// Whose signature, where.
pub(super) struct Signer<'a> {
    pub(super) key_id: &'a str,
    pub(super) secret: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// What is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// Absolute and already encoded.
    pub(super) path: &'a str,
    /// In canonical form: sorted and encoded.
    pub(super) query: &'a str,
    /// With lower-case names, sorted, `host` and `x-amz-date` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// The value of `x-amz-date`.
pub(super) fn amz_date(at: Timestamp) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

impl Signer<'_> {
    /// The value of `authorization`. `date` is the request's `x-amz-date`.
    pub(super) fn authorization(&self, request: &Signable<'_>, date: &str) -> String {
        let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers = request.headers.iter().map(|(name, value)| {
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            format!("{name}:{value}\n")
        });
        let canonical = format!(
            "{}\n{}\n{}\n{}\n{names}\n{}",
            request.method,
            request.path,
            request.query,
            headers.collect::<String>(),
            hex(&Sha256::digest(request.body)),
        );
        let day = date.split('T').next().unwrap_or(date);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let signature = hex(&hmac_sha256(&self.key(day), &[to_sign.as_bytes()]));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        )
    }

    fn key(&self, day: &str) -> [u8; 32] {
        let mut key = hmac_sha256(format!("AWS4{}", self.secret).as_bytes(), &[day.as_bytes()]);
        for step in [self.region, self.service, "aws4_request"] {
            key = hmac_sha256(&key, &[step.as_bytes()]);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::{Signable, Signer, amz_date};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn signature(service: &str, request: &Signable<'_>) -> String {
        let signer = Signer { key_id: "AKIDEXAMPLE", secret: SECRET, region: "us-east-1", service };
        let value = signer.authorization(request, "20150830T123600Z");
        value.split("Signature=").nth(1).expect("a signature").to_owned()
    }

    /// Amazon's published test suite: `get-vanilla` and `post-x-www-form-urlencoded`.
    #[test]
    fn the_published_suite_is_reproduced() {
        let date = ("x-amz-date", "20150830T123600Z");
        let vanilla = Signable {
            method: "GET",
            path: "/",
            query: "",
            headers: &[("host", "example.amazonaws.com"), date],
            body: b"",
        };
        assert_eq!(
            signature("service", &vanilla),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        let form = Signable {
            method: "POST",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded"),
                ("host", "example.amazonaws.com"),
                date,
            ],
            body: b"Param1=value1",
            ..vanilla
        };
        assert_eq!(
            signature("service", &form),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    /// The example of Amazon's guide, step by step.
    #[test]
    fn the_guides_example_is_reproduced() {
        let request = Signable {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
        };
        assert_eq!(
            signature("iam", &request),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        let at = "2015-08-30T12:36:00.5Z".parse().expect("a time");
        assert_eq!(amz_date(at), "20150830T123600Z");
    }
}
