//! Which domain controllers there are: DNS SRV, the own site's first, in the order of RFC 2782.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

use crate::directory::backoff::mix;
use crate::directory::error::DirectoryError;
use crate::limits::DIRECTORY_DNS_TIMEOUT;
use crate::settings::{Server, is_host};

/// Servers that are tried; a domain may have hundreds, and none of them matters any more after this.
pub const SERVERS_MAX: usize = 6;

/// One answer of DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Among equals, how often this one is the first.
    pub weight: u16,
    /// The server.
    pub host: String,
}

/// The order in which servers are tried (RFC 2782). `seed` chooses among those of equal priority, so
/// that a fleet spreads over its controllers by their weight.
pub fn order(mut records: Vec<Srv>, seed: u64) -> Vec<Srv> {
    // Weight 0 first, as the RFC has it: such a server is chosen only if the draw is 0.
    records.sort_by(|a, b| (a.priority, a.weight, &a.host).cmp(&(b.priority, b.weight, &b.host)));
    let mut ordered = Vec::with_capacity(records.len());
    let mut draw = seed;
    while let Some(priority) = records.first().map(|record| record.priority) {
        let equals = records.iter().take_while(|record| record.priority == priority).count();
        let sum: u64 = records[..equals].iter().map(|record| u64::from(record.weight)).sum();
        draw = mix(draw);
        let mut left = draw % (sum + 1);
        let chosen = records[..equals].iter().position(|record| {
            let weight = u64::from(record.weight);
            let hit = left <= weight;
            left = left.saturating_sub(weight);
            hit
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

/// The names that are asked for, the nearest controllers first.
pub fn queries(domain: &str, site: Option<&str>) -> Vec<String> {
    let site = site.filter(|site| is_host(site));
    let of_site = site.map(|site| format!("_ldap._tcp.{site}._sites.dc._msdcs.{domain}."));
    of_site.into_iter().chain([format!("_ldap._tcp.dc._msdcs.{domain}.")]).collect()
}

/// What DNS has under one name; empty when it says that there is nothing.
///
/// # Errors
/// [`DirectoryError::Discover`] when DNS does not answer.
pub async fn records(query: &str) -> Result<Vec<Srv>, DirectoryError> {
    let failed = |source| {
        let (query, source) = (query.to_owned(), Some(Box::new(source)));
        DirectoryError::Discover { query, source }
    };
    let lookup = match resolver().map_err(failed)?.srv_lookup(query).await {
        Ok(lookup) => lookup,
        // No controller in this site is no failure: the domain's others answer for it.
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let records = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(Srv {
            priority: srv.priority,
            weight: srv.weight,
            host: srv.target.to_utf8().trim_end_matches('.').to_lowercase(),
        }),
        _ => None,
    });
    Ok(records.filter(|record| is_host(&record.host)).collect())
}

/// The domain controllers of a domain in the order they are tried.
///
/// # Errors
/// [`DirectoryError::Discover`] when DNS does not answer, or knows no controller.
pub async fn servers(
    domain: &str,
    site: Option<&str>,
    seed: u64,
) -> Result<Vec<Server>, DirectoryError> {
    let mut found: Vec<Server> = Vec::new();
    let mut last = None;
    for query in queries(domain, site) {
        match records(&query).await {
            Ok(records) => add(&mut found, order(within(records, domain), seed)),
            Err(error) => last = Some(error),
        }
    }
    found.truncate(SERVERS_MAX);
    match (found.is_empty(), last) {
        (false, _) => Ok(found),
        (true, Some(error)) => Err(error),
        (true, None) => {
            let query = queries(domain, None).concat();
            Err(DirectoryError::Discover { query, source: None })
        }
    }
}

/// The servers that lie in the domain. DNS is not to be trusted: a name elsewhere may have a good
/// certificate, and would be given the agent's secret. Who has controllers under other names lists
/// them (`directory.servers`).
pub fn within(mut records: Vec<Srv>, domain: &str) -> Vec<Srv> {
    let domain = domain.trim_end_matches('.').to_lowercase();
    records.retain(|record| {
        let rest = record.host.strip_suffix(&domain);
        let lies = rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !lies {
            tracing::warn!(host = record.host, domain, "DNS names a server outside the domain.");
        }
        lies
    });
    records
}

/// Adds servers that are not listed yet.
pub fn add(servers: &mut Vec<Server>, records: Vec<Srv>) {
    for Srv { host, .. } in records {
        if !servers.iter().any(|known| known.host == host) {
            // The port of the record is that of plain LDAP; TLS has one of its own.
            servers.push(Server { host, port: None });
        }
    }
}

/// Why DNS did not answer.
pub type DnsError = hickory_resolver::net::NetError;

fn resolver() -> Result<TokioResolver, DnsError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.timeout = DIRECTORY_DNS_TIMEOUT;
    options.attempts = 1;
    builder.build()
}

/// The domain that the resolver's configuration names for this computer.
pub fn system_domain() -> Option<String> {
    let (config, _) = hickory_resolver::system_conf::read_system_conf().ok()?;
    let domain = config.domain().or_else(|| config.search().first())?.to_utf8();
    let domain = domain.trim_end_matches('.').to_lowercase();
    (domain.contains('.') && is_host(&domain)).then_some(domain)
}
