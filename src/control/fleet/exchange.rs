//! One round with the store: asks as a pipeline of script calls, and its answers.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, TlsCertificates};

use crate::certificate;
use crate::config::{self, Secret};
use crate::limits::FLEET_TIMEOUT;
use crate::tenant::lease::{Answer, Ask, MonthAnswer, MonthAsk, RateAnswer, RateAsk};

const SCRIPT: &str = include_str!("exchange.lua");

/// See the module.
#[derive(Clone)]
pub(super) struct Exchange {
    client: Client,
    /// None: the next round makes one.
    connection: Option<MultiplexedConnection>,
    script: Script,
    region: String,
    node: String,
}

/// Why a round failed. It says nothing of the address.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Store(#[from] RedisError),
    #[error("an answer that is none of the script's")]
    Strange,
    #[error("ca_file: {0}")]
    CaFile(std::io::Error),
}

impl Exchange {
    pub(super) fn new(config: &config::Fleet, region: &str, boot: u64) -> Result<Self, ExchangeError> {
        let url = Secret::expose(&config.url);
        let client = match &config.ca_file {
            Some(path) => {
                let root = certificate::read_file(path).map_err(ExchangeError::CaFile)?;
                Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(root) })?
            }
            None => Client::open(url)?,
        };
        let (region, node) = (region.to_owned(), format!("{boot:016x}"));
        Ok(Self { client, connection: None, script: Script::new(SCRIPT), region, node })
    }

    /// All answers, in the order of the asks.
    pub(super) async fn ask(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, ExchangeError> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        // Only a round that went well leaves its connection: an answer that comes late is nobody's.
        let connection = self.connection.take();
        let round = self.round(connection, asks);
        let (connection, answers) =
            tokio::time::timeout(FLEET_TIMEOUT, round).await.map_err(|_| ExchangeError::Late)??;
        self.connection = Some(connection);
        Ok(answers)
    }

    async fn round(
        &self,
        connection: Option<MultiplexedConnection>,
        asks: &[Ask],
    ) -> Result<(MultiplexedConnection, Vec<Answer>), ExchangeError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut pipe = redis::pipe();
        for ask in asks {
            self.push(&mut pipe, ask);
        }
        let said: Vec<[i64; 6]> = pipe.query_async(&mut connection).await?;
        if said.len() != asks.len() {
            return Err(ExchangeError::Strange);
        }
        Ok((connection, said.into_iter().map(answer).collect()))
    }

    /// With the script loaded: a store that forgot it (it was restarted) fails a round, and the next one loads it again.
    async fn connect(&self) -> Result<MultiplexedConnection, ExchangeError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(FLEET_TIMEOUT))
            .set_response_timeout(Some(FLEET_TIMEOUT));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.script.prepare_invoke().load_async(&mut connection).await?;
        Ok(connection)
    }

    fn push(&self, pipe: &mut redis::Pipeline, ask: &Ask) {
        let key = ask.key;
        let month = ask.month.map_or(0, |month| month.month);
        // Both are of one slot of a cluster: that of what stands in braces.
        let rates = format!("livechain:{}:{{{key}}}:rates", self.region);
        let months = format!("livechain:all:{{{key}}}:{month}");
        let call = pipe.cmd("EVALSHA").arg(self.script.get_hash()).arg(2).arg(rates).arg(months);
        call.arg(arguments(ask, &self.node));
    }
}

/// As the script counts them.
pub(super) fn arguments(ask: &Ask, node: &str) -> Vec<String> {
    let rates = ask.rates.iter().flat_map(|rate| {
        let RateAsk { rate, burst, back, debt, want, least } = rate.unwrap_or_default();
        [rate, burst, back, debt, want, least]
    });
    let limit = ask.month.and_then(|month| i64::try_from(month.limit).ok()).unwrap_or(-1);
    let MonthAsk { count, base, used, told, close, want, least, .. } = ask.month.unwrap_or_default();
    let [base, want, least] = [base, want, least].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let month = [base, used, told, i64::from(close), want, least];
    let rates = rates.map(|number| number.to_string()).chain([limit.to_string()]);
    rates.chain(month.map(|number| number.to_string())).chain([format!("{node}:{count:x}")]).collect()
}

pub(super) fn answer(said: [i64; 6]) -> Answer {
    let [calls, calls_room, units, units_room, month, left] = said.map(|number| u64::try_from(number).unwrap_or(0));
    Answer {
        rates: [RateAnswer { granted: calls, room: calls_room }, RateAnswer { granted: units, room: units_room }],
        month: MonthAnswer { granted: month, left },
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("connected", &self.connection.is_some()).finish_non_exhaustive()
    }
}
