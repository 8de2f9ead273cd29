//! A question to a name server, by UDP, and by TCP when the answer does not fit. Messages are built and read by `domain`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::AllRecordData;
use model::probe::{Dns, Expect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::connect::{Resolver, bare, split};
use crate::look::{Notes, Reason, Records, Trouble, plain};

/// After this the question is asked again: a datagram may get lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest answer by UDP that is asked for; what is larger comes by TCP.
const LARGEST_DATAGRAM_BYTES: usize = 4096;
/// Where name servers listen.
const PORT: u16 = 53;
/// Where the machine's own name servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

type Question = Message<Vec<u8>>;

pub(crate) async fn ask(
    dns: &Dns,
    expect: &Expect,
    resolver: &Resolver,
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let server = server(dns, resolver, notes).await?;
    let rtype: Rtype = dns
        .record_type
        .parse()
        .map_err(|_| Trouble::Unable(format!("`{}` is no type of records", dns.record_type)))?;
    let question = question(&dns.name, rtype)?;
    notes.ip = Some(if server.is_ipv4() { 4 } else { 6 });
    notes.doing = "waiting for the answer";
    let begun = Instant::now();
    let mut answer = by_datagram(server, &question).await;
    if answer.as_ref().is_ok_and(|answer| answer.header().tc()) {
        answer = by_stream(server, &question).await;
    }
    notes.phases.processing += begun.elapsed();
    let answer = answer.map_err(|error| {
        let what = format!("{server} cannot be asked: {}", plain(&error.to_string()).to_lowercase());
        Trouble::Failed(Reason::Connect, what)
    })?;
    judge(&answer, rtype, dns, expect, notes)
}

async fn server(dns: &Dns, resolver: &Resolver, notes: &mut Notes) -> Result<SocketAddr, Trouble> {
    let own;
    let server = match &dns.server {
        Some(server) => server.as_str(),
        None => {
            own = tokio::task::spawn_blocking(own_server).await.ok().flatten().ok_or_else(|| {
                Trouble::Unable(format!("{RESOLV_CONF} names no name server: name one under `server`"))
            })?;
            own.as_str()
        }
    };
    let (host, port) = match server.parse::<IpAddr>() {
        Ok(_) => (server, PORT),
        Err(_) => split(server).unwrap_or((bare(server), PORT)),
    };
    let found = resolver.resolve(host, port, notes).await?;
    found.first().copied().ok_or_else(|| Trouble::failed(Reason::Resolve, "it has no address"))
}

/// This machine's first name server.
fn own_server() -> Option<String> {
    let text = std::fs::read_to_string(RESOLV_CONF).ok()?;
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next())?.map(str::to_owned))
}

fn question(name: &str, rtype: Rtype) -> Result<Question, Trouble> {
    let unable = |what: String| Trouble::Unable(format!("it is no question: {what}"));
    let name: Name<Vec<u8>> = name.parse().map_err(|error| unable(format!("{error}")))?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(fastrand::u16(..));
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, rtype)).map_err(|error| unable(error.to_string()))?;
    Ok(builder.into_message())
}

async fn by_datagram(server: SocketAddr, question: &Question) -> std::io::Result<Message<Vec<u8>>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // The system drops what comes from anybody else.
    socket.connect(server).await?;
    let mut buffer = vec![0; LARGEST_DATAGRAM_BYTES];
    loop {
        let _ = socket.send(question.as_slice()).await?;
        let asked_again = Instant::now() + PATIENCE;
        while let Ok(received) = tokio::time::timeout_at(asked_again, socket.recv(&mut buffer)).await {
            let bytes = buffer.get(..received?).unwrap_or_default().to_vec();
            // Whatever is no answer to this question was sent by somebody who only guesses.
            if let Some(answer) = Message::from_octets(bytes).ok().filter(|it| it.is_answer(question)) {
                return Ok(answer);
            }
        }
    }
}

async fn by_stream(server: SocketAddr, question: &Question) -> std::io::Result<Message<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.as_slice().len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], question.as_slice()].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    let _ = stream.read_exact(&mut bytes).await?;
    let strange = || std::io::Error::other("what it said by TCP is no answer");
    Message::from_octets(bytes).ok().filter(|it| it.is_answer(question)).ok_or_else(strange)
}

fn judge(
    answer: &Message<Vec<u8>>,
    rtype: Rtype,
    dns: &Dns,
    expect: &Expect,
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let counts = answer.header_counts();
    notes.dns =
        Some(Records { answer: counts.ancount(), authority: counts.nscount(), additional: counts.arcount() });
    let expected = expect.rcode.as_deref().unwrap_or("NOERROR");
    let rcode = answer.header().rcode().to_string();
    if rcode != expected {
        return Err(Trouble::Failed(Reason::Rcode, format!("answered {rcode}, expected {expected}")));
    }
    if answer.header().rcode() != Rcode::NOERROR {
        return Ok(());
    }
    let found = records(answer, rtype).map_err(|what| {
        Trouble::Failed(Reason::Protocol, plain(&format!("answered what cannot be read: {what}")))
    })?;
    if found.is_empty() {
        let what = format!("{} has no {} record", dns.name, dns.record_type);
        return Err(Trouble::Failed(Reason::Answer, what));
    }
    match expect.answers.iter().find(|wanted| !found.contains(&simple(wanted))) {
        None => Ok(()),
        Some(missing) => {
            let what = format!("{missing} is not among the answers: {}", found.join(", "));
            Err(Trouble::Failed(Reason::Answer, plain(&what)))
        }
    }
}

/// The answers of a type, as they are written in zone files.
fn records(answer: &Message<Vec<u8>>, rtype: Rtype) -> Result<Vec<String>, String> {
    let section = answer.answer().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for record in section.limit_to::<AllRecordData<_, _>>() {
        let record = record.map_err(|error| error.to_string())?;
        if record.rtype() == rtype {
            found.push(simple(&record.data().to_string()));
        }
    }
    Ok(found)
}

/// Names mean the same in capitals and with a dot at the end, texts with quotes.
fn simple(text: &str) -> String {
    text.trim().trim_end_matches('.').replace('"', "").to_ascii_lowercase()
}
