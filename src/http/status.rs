//! The statuses that a node answers with, as whole status lines: appended, never rendered.

/// An answer's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    SwitchingProtocols,
    Ok,
    NoContent,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    ExpectationFailed,
    UpgradeRequired,
    TooManyRequests,
    HeaderFieldsTooLarge,
    InternalServerError,
    ServiceUnavailable,
    GatewayTimeout,
}

impl Status {
    /// Every one of them.
    pub const ALL: [Self; 17] = [
        Self::SwitchingProtocols,
        Self::Ok,
        Self::NoContent,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ContentTooLarge,
        Self::ExpectationFailed,
        Self::UpgradeRequired,
        Self::TooManyRequests,
        Self::HeaderFieldsTooLarge,
        Self::InternalServerError,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
    ];

    /// The status with this code, where it is one of ours.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::SwitchingProtocols => 101,
            Self::Ok => 200,
            Self::NoContent => 204,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::ContentTooLarge => 413,
            Self::ExpectationFailed => 417,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeaderFieldsTooLarge => 431,
            Self::InternalServerError => 500,
            Self::ServiceUnavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// The status line with its line end.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::SwitchingProtocols => "HTTP/1.1 101 Switching Protocols\r\n",
            Self::Ok => "HTTP/1.1 200 OK\r\n",
            Self::NoContent => "HTTP/1.1 204 No Content\r\n",
            Self::BadRequest => "HTTP/1.1 400 Bad Request\r\n",
            Self::Unauthorized => "HTTP/1.1 401 Unauthorized\r\n",
            Self::Forbidden => "HTTP/1.1 403 Forbidden\r\n",
            Self::NotFound => "HTTP/1.1 404 Not Found\r\n",
            Self::MethodNotAllowed => "HTTP/1.1 405 Method Not Allowed\r\n",
            Self::RequestTimeout => "HTTP/1.1 408 Request Timeout\r\n",
            Self::ContentTooLarge => "HTTP/1.1 413 Content Too Large\r\n",
            Self::ExpectationFailed => "HTTP/1.1 417 Expectation Failed\r\n",
            Self::UpgradeRequired => "HTTP/1.1 426 Upgrade Required\r\n",
            Self::TooManyRequests => "HTTP/1.1 429 Too Many Requests\r\n",
            Self::HeaderFieldsTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Self::InternalServerError => "HTTP/1.1 500 Internal Server Error\r\n",
            Self::ServiceUnavailable => "HTTP/1.1 503 Service Unavailable\r\n",
            Self::GatewayTimeout => "HTTP/1.1 504 Gateway Timeout\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_bears_its_code() {
        for status in Status::ALL {
            let line = status.line();
            assert!(line.starts_with(&format!("HTTP/1.1 {} ", status.code())), "{line}");
            assert!(line.ends_with("\r\n") && line.len() > 16, "{line}");
        }
    }
}
