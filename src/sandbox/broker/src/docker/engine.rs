//! The container engine: the few of its calls that are made.

use std::{collections::HashMap, path::Path, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, StartContainerOptions,
        WaitContainerOptions,
    },
};
use futures_util::{StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, timeout};

use super::template::LABEL;
use crate::container::{Refused, RefusedKind};

/// How long one call may take.
const PATIENCE: u64 = 60;
/// How long it may take to find out whether anybody is there.
const GREETING: Duration = Duration::from_secs(5);

/// How long the engine may take to remove a container, and how often it is asked whether it has.
const REMOVAL: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(20);

/// A connection to an engine that has said which version of the interface it speaks.
pub(super) struct Engine {
    docker: Docker,
    pub(super) version: String,
    pub(super) processors: u64,
    pub(super) apparmor: bool,
}

impl Engine {
    /// Connects, agrees on a version of the interface, and makes sure that its containers are filtered.
    pub(super) async fn connect(socket: &Path) -> Result<Self, Refused> {
        let gone = |reason: String| Refused {
            kind: RefusedKind::EngineUnavailable,
            message: format!("the container engine at {} does not answer: {reason}", socket.display()),
            remedy: Some(
                "install and start one, as by `apt install docker.io`, or set `engine` in docker.toml".to_owned(),
            ),
        };
        let greet = async {
            let docker = Docker::connect_with_unix(&socket.display().to_string(), PATIENCE, API_DEFAULT_VERSION)?;
            let docker = docker.negotiate_version().await?;
            let info = docker.info().await?;
            Ok::<_, Error>((docker, info))
        };
        let (docker, info) = match timeout(GREETING, greet).await {
            Ok(Ok(both)) => both,
            Ok(Err(err)) => return Err(gone(err.to_string())),
            Err(_) => return Err(gone(format!("nothing within {} seconds", GREETING.as_secs()))),
        };
        let options = info.security_options.unwrap_or_default();
        if !is_filtered(&options) {
            return Err(Refused {
                kind: RefusedKind::EngineUnsafe,
                message: format!("the container engine does not filter system calls (security options: {options:?})"),
                remedy: Some("remove `seccomp-profile` from /etc/docker/daemon.json and restart the engine".to_owned()),
            });
        }
        let processors = info.ncpu.and_then(|count| u64::try_from(count).ok()).unwrap_or(1).max(1);
        let apparmor = options.iter().any(|option| option.split(',').any(|part| part == "name=apparmor"));
        Ok(Self { docker, version: info.server_version.unwrap_or_default(), processors, apparmor })
    }

    /// The image by its content, if it is there.
    pub(super) async fn image(&self, name: &str) -> Result<Option<String>, Error> {
        match self.docker.inspect_image(name).await {
            Ok(image) => Ok(image.id),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Makes a container; it does not run yet.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), Error> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
        self.docker.create_container(Some(options), body).await.map(drop)
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), Error> {
        self.docker.start_container(name, None::<StartContainerOptions>).await
    }

    /// Ends when the container does; with its status, if that can still be had.
    pub(super) fn ended<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<i64>> {
        Box::pin(async move {
            let mut ends = self.docker.wait_container(name, None::<WaitContainerOptions>);
            match ends.next().await {
                Some(Ok(end)) => Some(end.status_code),
                Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
                _ => None,
            }
        })
    }

    /// Ends a container and everything in it; one that is gone already is no fault.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
        let end = Instant::now() + REMOVAL;
        loop {
            match self.docker.remove_container(name, Some(options.clone())).await {
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
                // The engine is removing it, because it ended by itself.
                Err(Error::DockerResponseServerError { status_code: 409, .. }) if Instant::now() < end => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(err) => return Err(err),
            }
        }
    }

    /// Removes the containers of an earlier broker with this label; how many there were.
    pub(super) async fn remove_orphans(&self, broker: &str) -> Result<usize, Error> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={broker}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let found = self.docker.list_containers(Some(options)).await?;
        let ids: Vec<String> = found.into_iter().filter_map(|container| container.id).collect();
        for id in &ids {
            self.remove(id).await?;
        }
        Ok(ids.len())
    }
}

/// Whether containers get a filter of system calls unless somebody asks otherwise.
fn is_filtered(options: &[String]) -> bool {
    let filter = options.iter().find(|option| option.split(',').any(|part| part == "name=seccomp"));
    filter.is_some_and(|option| !option.contains("unconfined"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_without_a_filter_is_known() {
        let filtered = |options: &[&str]| is_filtered(&options.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(filtered(&["name=apparmor", "name=seccomp,profile=default"]));
        assert!(filtered(&["name=seccomp,profile=builtin", "name=cgroupns"]));
        assert!(!filtered(&["name=seccomp,profile=unconfined"]));
        assert!(!filtered(&["name=apparmor"]));
        assert!(!filtered(&[]));
    }
}
