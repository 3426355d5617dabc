//! A mail server that accepts everything and delivers nothing: the demo's mail ends here.

use std::net::SocketAddr;
use std::sync::Arc;

use actions_domain::ports::clock::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::super::error::CliError;
use super::super::teller::Teller;
use super::receiver::listen_near;

/// Most bytes of one line, and of one mail.
const LINE_BYTES_MAX: u64 = 2_000;
const MAIL_BYTES_MAX: usize = 1 << 20;

/// A mail server whose port is open.
pub(super) struct SmtpSink {
    listener: TcpListener,
    address: SocketAddr,
}

/// What is known of the mail that is being sent.
#[derive(Default)]
struct Mail {
    to: Vec<String>,
    subject: String,
    bytes: usize,
}

impl SmtpSink {
    pub(super) async fn open(wanted: SocketAddr) -> Result<Self, CliError> {
        let listener = listen_near(wanted).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn start(self, clock: Arc<dyn Clock>, teller: Teller) {
        tokio::spawn(async move {
            while let Ok((stream, _peer)) = self.listener.accept().await {
                let (clock, teller) = (clock.clone(), teller.clone());
                tokio::spawn(async move {
                    let tell = |mail: &Mail| {
                        teller.say(clock.now(), "sink", "mail", &mail.to.join(", "), &mail.subject);
                    };
                    // A sender that hangs up half-way is not a mail.
                    let _ = converse(stream, tell).await;
                });
            }
        });
    }
}

/// Speaks SMTP (RFC 5321), as far as a sender needs it.
async fn converse(stream: TcpStream, deliver: impl Fn(&Mail)) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut mail = Mail::default();
    writing.write_all(b"220 sink ready\r\n").await?;
    while let Some(line) = next_line(&mut reading).await? {
        let verb: String = line.chars().take(4).collect::<String>().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "HELO" | "NOOP" => b"250 sink\r\n",
            "RSET" => {
                mail = Mail::default();
                b"250 forgotten\r\n"
            }
            "MAIL" => b"250 sender noted\r\n",
            "RCPT" => {
                mail.to.push(address_in(&line));
                b"250 recipient noted\r\n"
            }
            "DATA" => {
                writing.write_all(b"354 end with a dot\r\n").await?;
                if read_mail(&mut reading, &mut mail).await? {
                    deliver(&mail);
                    mail = Mail::default();
                    b"250 swallowed\r\n"
                } else {
                    mail = Mail::default();
                    b"552 too large\r\n"
                }
            }
            "QUIT" => {
                writing.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 not understood\r\n",
        };
        writing.write_all(answer).await?;
    }
    Ok(())
}

async fn next_line<R: AsyncBufReadExt + Unpin>(reading: &mut R) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = reading.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned()))
}

/// Reads up to the line with a single dot. Answers whether the mail was small enough.
async fn read_mail<R: AsyncBufReadExt + Unpin>(
    reading: &mut R,
    mail: &mut Mail,
) -> std::io::Result<bool> {
    let mut in_headers = true;
    while let Some(line) = next_line(reading).await? {
        if line == "." {
            return Ok(mail.bytes <= MAIL_BYTES_MAX);
        }
        mail.bytes = mail.bytes.saturating_add(line.len());
        in_headers &= !line.is_empty();
        if let Some(subject) = line.strip_prefix("Subject: ").filter(|_| in_headers) {
            mail.subject = subject.to_owned();
        }
    }
    Ok(false)
}

/// `RCPT TO:<ada@example.com>`
fn address_in(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(|| line.to_owned(), |(address, _)| address.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::converse;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the test is the sender")]
    async fn a_mail_is_accepted_and_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = told.clone();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            converse(stream, |mail| {
                seen.lock().unwrap().push((mail.to.clone(), mail.subject.clone()));
            })
            .await
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let mail = "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nSubject: Hello\r\n\r\nSubject: no\r\n.\r\nQUIT\r\n";
        client.write_all(mail.as_bytes()).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        server.await.unwrap().unwrap();
        assert!(answers.ends_with("250 swallowed\r\n221 bye\r\n"), "{answers}");
        assert_eq!(*told.lock().unwrap(), [(vec!["b@y".to_owned()], "Hello".to_owned())]);
    }
}
