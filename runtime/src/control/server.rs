//! The sidecar's side of the control socket.

use crate::paths::effective_uid;
use crate::status::{Hub, Subject, explain};
use axum::extract::{Path as Segment, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use outrigger_sdk::undo;
use serde::Deserialize;
use serde_json::json;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::{UnixListener, UnixStream, unix};
use tokio::sync::oneshot;

/// The control socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The OS said no.
    #[error("cannot {step} control socket {path}: {error}")]
    Io {
        /// What was attempted.
        step: &'static str,
        /// On which socket.
        path: PathBuf,
        /// What the OS said.
        error: io::Error,
    },
    /// Somebody else answers there.
    #[error(
        "another sidecar listens on {0}; stop it, or choose another place with --state-dir or control.socket"
    )]
    Taken(PathBuf),
    /// What is there is not a socket that we could have left behind.
    #[error(
        "cannot open control socket {path}: {why} is there and stays; choose another place with control.socket"
    )]
    Occupied {
        /// Where.
        path: PathBuf,
        /// By what.
        why: String,
    },
}

/// A control socket that is open. Dropping it closes it and removes the file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the socket and answers on a thread of its own.
    ///
    /// # Errors
    /// The socket cannot be made, a living sidecar has it, or something else is there.
    pub fn start(path: &Path, hub: Arc<Hub>) -> Result<Self, ServerError> {
        let failed = |step| {
            let path = path.to_path_buf();
            move |error| ServerError::Io { step, path, error }
        };
        clear(path)?;
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed("bind"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        listener.set_nonblocking(true).map_err(failed("set up"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("start a thread for"))?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || runtime.block_on(serve(listener, hub, stopped)))
            .map_err(failed("start a thread for"))?;
        Ok(Self { path: path.to_path_buf(), stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "control socket not removed");
        }
    }
}

/// Removes a socket of ours that nobody answers on any more, and nothing else: connecting to any
/// file that is no socket is refused just as by a dead one.
///
/// # Errors
/// A living sidecar has it, or something else is there.
pub(crate) fn clear(path: &Path) -> Result<(), ServerError> {
    let failed = |step, error| ServerError::Io { step, path: path.to_path_buf(), error };
    let occupied = |why| Err(ServerError::Occupied { path: path.to_path_buf(), why });
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return occupied("something that is no socket".to_owned());
        }
        Ok(found) if found.uid() != effective_uid() => {
            return occupied(format!("a socket of user {}", found.uid()));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ServerError::Taken(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| failed("remove the dead", error))
        }
        Err(error) => Err(failed("look at", error)),
    }
}

async fn serve(
    listener: std::os::unix::net::UnixListener,
    hub: Arc<Hub>,
    stopped: oneshot::Receiver<()>,
) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => SameUser(listener),
        Err(error) => return tracing::error!(%error, "the control socket cannot be served"),
    };
    // Clients that hang must not keep us: no graceful end, what is in flight is dropped.
    let serving = std::future::IntoFuture::into_future(axum::serve(listener, router(hub)));
    tokio::select! {
        ended = serving => {
            if let Err(error) = ended {
                tracing::error!(%error, "the control socket has ended");
            }
        }
        _ = stopped => {}
    }
}

fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/explain/{subject}", get(explanation))
        .route("/v1/events", get(events))
        .route("/v1/pause", post(|State(hub)| pause(hub, true)))
        .route("/v1/resume", post(|State(hub)| pause(hub, false)))
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "no such path") })
        .with_state(hub)
}

async fn status(State(hub): State<Arc<Hub>>) -> Response {
    Json(hub.view()).into_response()
}

async fn explanation(State(hub): State<Arc<Hub>>, Segment(subject): Segment<String>) -> Response {
    let exists = |pid| undo::knob::start_time(pid, 0).is_some();
    match explain(&hub.view(), &hub.activity(0), &Subject::parse(&subject), exists) {
        Some(explanation) => Json(explanation).into_response(),
        None => {
            let message = format!("no workload {subject:?} has a living process");
            failure(StatusCode::NOT_FOUND, &message)
        }
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events(State(hub): State<Arc<Hub>>, Query(After { after }): Query<After>) -> Response {
    Json(hub.activity(after)).into_response()
}

async fn pause(hub: Arc<Hub>, paused: bool) -> Response {
    let before = hub.pause(paused);
    tracing::info!(paused, "told over the control socket");
    Json(json!({ "paused": paused, "changed": before != paused })).into_response()
}

fn failure(code: StatusCode, message: &str) -> Response {
    (code, Json(json!({ "error": message }))).into_response()
}

/// Takes connections of the same user and of root; others are closed without a word.
struct SameUser(UnixListener);

impl axum::serve::Listener for SameUser {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) => match stream.peer_cred() {
                    Ok(peer) if is_allowed(peer.uid()) => return (stream, address),
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "refused on the control socket"),
                    Err(error) => tracing::warn!(%error, "nobody known on the control socket"),
                },
                Err(error) => {
                    // Out of descriptors, in practice: others may close theirs meanwhile.
                    tracing::warn!(%error, "control connection not taken");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

fn is_allowed(uid: u32) -> bool {
    uid == 0 || uid == effective_uid()
}

#[cfg(test)]
mod tests {
    use super::super::{ClientError, Method, request};
    use super::*;
    use crate::flow::activity::ActionKind;
    use crate::status::{Identity, StatusView};

    fn start() -> (tempfile::TempDir, PathBuf, Arc<Hub>, Server) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let identity = Identity { instance: "run-1".into(), ..Identity::default() };
        let hub = Arc::new(Hub::new(identity));
        let server = Server::start(&path, Arc::clone(&hub)).unwrap();
        (place, path, hub, server)
    }

    #[test]
    fn a_status_is_read() {
        let (_place, path, _hub, _server) = start();
        let status = request(&path, Method::Get, "/v1/status").unwrap();
        assert_eq!(serde_json::from_value::<StatusView>(status).unwrap().instance, "run-1");
    }

    #[test]
    fn pausing_and_resuming_turn_the_switch() {
        let (_place, path, hub, _server) = start();
        let answer = request(&path, Method::Post, "/v1/pause").unwrap();
        assert_eq!(
            (answer["paused"].as_bool(), answer["changed"].as_bool()),
            (Some(true), Some(true))
        );
        assert!(hub.view().paused);
        let again = request(&path, Method::Post, "/v1/pause").unwrap();
        assert_eq!(again["changed"], false);
        request(&path, Method::Post, "/v1/resume").unwrap();
        assert!(!hub.view().paused);
    }

    #[test]
    fn events_can_be_asked_for_from_a_number_on() {
        let (_place, path, hub, _server) = start();
        for seq in 1..=3 {
            hub.add_action(crate::status::tests::action(seq, ActionKind::Weight));
        }
        let all = request(&path, Method::Get, "/v1/events").unwrap();
        let later = request(&path, Method::Get, "/v1/events?after=2").unwrap();
        assert_eq!((all.as_array().unwrap().len(), later.as_array().unwrap().len()), (3, 1));
        assert_eq!(later[0]["seq"], 3);
    }

    #[test]
    fn what_is_not_there_is_an_error_in_words() {
        let (_place, path, _hub, _server) = start();
        for wrong in ["/v1/explain/nobody", "/v2/status"] {
            match request(&path, Method::Get, wrong) {
                Err(ClientError::Refused { status: 404, message }) => assert!(!message.is_empty()),
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_living_socket_is_not_taken_over_and_a_dead_one_is() {
        let (_place, path, hub, server) = start();
        assert!(matches!(Server::start(&path, Arc::clone(&hub)), Err(ServerError::Taken(_))));
        drop(server);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _server = Server::start(&path, hub).unwrap();
        assert!(request(&path, Method::Get, "/v1/status").is_ok());
    }

    #[test]
    fn what_is_no_dead_socket_of_ours_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let (file, socket) = (place.path().join("file"), place.path().join("socket"));
        let (link, foreign) = (place.path().join("link"), place.path().join("foreign"));
        fs::write(&file, "precious").unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&foreign).unwrap());
        let mut occupied = vec![&file, &link];
        if std::os::unix::fs::chown(&foreign, Some(effective_uid() + 1), None).is_ok() {
            occupied.push(&foreign);
        }
        for path in occupied {
            let hub = Arc::new(Hub::new(Identity::default()));
            let error = Server::start(path, hub).unwrap_err();
            assert!(matches!(error, ServerError::Occupied { .. }), "{error}");
            assert!(fs::symlink_metadata(path).is_ok(), "{} was removed", path.display());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn nobody_there_is_said() {
        let place = tempfile::tempdir().unwrap();
        let error = request(&place.path().join("x.sock"), Method::Get, "/v1/status").unwrap_err();
        assert!(matches!(error, ClientError::Absent { .. }), "{error:?}");
    }

    #[test]
    fn other_users_are_refused() {
        assert!(is_allowed(0) && is_allowed(effective_uid()));
        assert!(!is_allowed(effective_uid() + 1));
    }
}
