//! The asking side of the control socket.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take: it is read from memory, but the machine may be under load, which
/// is when people ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To be told something.
    Get,
    /// To have something done.
    Post,
}

/// No answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no sidecar answers on {path}: {error}")]
    Absent {
        /// Where.
        path: PathBuf,
        /// What the OS said.
        error: io::Error,
    },
    /// The conversation failed.
    #[error("asking the sidecar on {path} failed: {message}")]
    Broken {
        /// Where.
        path: PathBuf,
        /// How.
        message: String,
    },
    /// The sidecar said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}

/// Asks once and waits for the answer.
///
/// # Errors
/// Nobody there, no answer in time, or an answer that says no.
pub fn request(socket: &Path, method: Method, path: &str) -> Result<Value, ClientError> {
    let broken = |message: String| ClientError::Broken { path: socket.to_path_buf(), message };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken(error.to_string()))?;
    runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, ask(socket, method, path)).await {
            Ok(answer) => answer,
            Err(_) => Err(broken(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    })
}

async fn ask(socket: &Path, method: Method, path: &str) -> Result<Value, ClientError> {
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|error| ClientError::Absent { path: socket.to_path_buf(), error })?;
    let broken = |error: &dyn std::fmt::Display| ClientError::Broken {
        path: socket.to_path_buf(),
        message: error.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Ends by itself with the answer; what went wrong is told by the request.
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(match method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        })
        .uri(path)
        .header(hyper::header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
    if status.is_success() {
        return Ok(answer);
    }
    let message = answer["error"].as_str().unwrap_or("the sidecar refused").to_owned();
    Err(ClientError::Refused { status: status.as_u16(), message })
}
