//! The admin port's server: its start, and letting go of the socket while connections finish.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Desk;
use super::listener::Bounded;
use super::seat::Seat;
use crate::control::View;

/// A server that runs until it is told to stop accepting, or dropped with its runtime.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves on `listener`. Needs a runtime. `desk`: where the node has tenants.
    pub fn start(listener: TcpListener, view: Arc<View>, desk: Option<Desk>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (stop, stopped) = oneshot::channel();
        let listener = Bounded::new(listener, Arc::clone(&view));
        let service = super::router(view, desk).into_make_service_with_connect_info::<Seat>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async {
            // A sender that is gone stops it as well.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the admin port");
            }
        });
        Ok(Self { stop: Some(stop), task })
    }

    /// Lets go of the socket; requests under way are answered, idle connections are closed.
    pub fn stop_accepting(&mut self) {
        if let Some(stop) = self.stop.take() {
            // One that has ended by itself accepts no longer either.
            let _ = stop.send(());
        }
    }

    /// Stops accepting, and waits until the last connection has gone.
    pub async fn stop(mut self) {
        self.stop_accepting();
        // It has logged why, if it ended otherwise.
        let _ = self.task.await;
    }
}
