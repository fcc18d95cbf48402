//! Process groups with c10d's Gloo backend, and NCCL for GPU tensors.
mod waiting;

use std::ffi::{CString, c_int};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

pub use waiting::set_stop_flag;

use crate::distributed::waiting::WaitMonitor;
use crate::ffi::{self, RawGroup, call, make_tensor, to_pointers};
use crate::number::to_i64;
use crate::{Error, Result};

/// Maximum number of processes; a larger number is probably a mistake.
const MAX_RANKS: usize = 65_536;

/// Address of a run's rendezvous, and the rank of this process.
///
/// ```
/// use std::collections::BTreeMap;
/// use torch_ext::Rendezvous;
///
/// let variables = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "10.0.0.7")];
/// let variables = BTreeMap::from(variables);
/// let get = |name: &str| variables.get(name).map(|value| value.to_string());
/// let rendezvous = Rendezvous::from_variables(get)?.unwrap();
/// assert_eq!((rendezvous.rank, rendezvous.size, rendezvous.port), (1, 2, 29500));
/// assert_eq!(Rendezvous::from_variables(|_| None)?, None); // a single process
/// # Ok::<(), torch_ext::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// The rank of this process, counted from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// The rank of this process among the processes on its machine; it selects the process's GPU.
    pub local_rank: usize,
    /// The number of processes on this machine.
    pub local_size: usize,
    /// The address of rank 0's machine.
    pub host: String,
    /// The port on rank 0's machine to which all processes connect.
    pub port: u16,
    /// Whether rank 0 listens on the port. If false, the launcher (`torchrun`) listens on it.
    pub rank_0_listens: bool,
    /// Prefix of the keys in the rendezvous store. A run and its restart have different prefixes.
    pub prefix: String,
    /// The network interface. If `None`, the loopback interface is used if `host` is a loopback
    /// address, otherwise the interface of this machine's host name.
    pub interface: Option<String>,
}

impl Rendezvous {
    /// Reads the environment variables of `torchrun`: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
    /// `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT` (default 29500), and
    /// `GLOO_SOCKET_IFNAME`. Returns `None` if `WORLD_SIZE` is 1 or not set.
    ///
    /// # Errors
    /// [`Error::Distributed`] naming a variable that is missing, is not a number or is out of
    /// range.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_variables(|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    /// Reads the variables of [`Rendezvous::from_env`] with `get`, which returns the value of a
    /// variable, or `None` if it is not set.
    ///
    /// # Errors
    /// The errors of [`Rendezvous::from_env`].
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let parse_number = |name: &str, default: Option<usize>| match get(name).as_deref() {
            None | Some("") => default.ok_or_else(|| {
                Error::Distributed(format!("{name} is not set, but WORLD_SIZE is set"))
            }),
            Some(text) => text
                .parse()
                .map_err(|_| Error::Distributed(format!("{name} = {text:?} is not a number"))),
        };
        let size = parse_number("WORLD_SIZE", Some(1))?;
        if size == 1 {
            return Ok(None);
        }
        let rank = parse_number("RANK", None)?;
        if size > MAX_RANKS {
            let message = format!("WORLD_SIZE = {size} is more than {MAX_RANKS} processes");
            return Err(Error::Distributed(message));
        }
        if rank >= size {
            let message = format!("RANK = {rank} is not below WORLD_SIZE = {size}");
            return Err(Error::Distributed(message));
        }
        let port = parse_number("MASTER_PORT", Some(29500))?;
        let port = u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| {
            Error::Distributed(format!("MASTER_PORT = {port} is not a port from 1 to 65535"))
        })?;
        let Some(host) = get("MASTER_ADDR").filter(|host| !host.is_empty()) else {
            return Err(Error::Distributed("MASTER_ADDR is not set, but WORLD_SIZE is set".into()));
        };
        Ok(Some(Self {
            rank,
            size,
            local_rank: parse_number("LOCAL_RANK", Some(0))?,
            local_size: parse_number("LOCAL_WORLD_SIZE", Some(1))?,
            host,
            port,
            rank_0_listens: get("TORCHELASTIC_USE_AGENT_STORE").as_deref() != Some("True"),
            // Launchers without restarts do not set the count.
            prefix: format!(
                "polyqa-{}",
                get("TORCHELASTIC_RESTART_COUNT").as_deref().unwrap_or("")
            ),
            interface: get("GLOO_SOCKET_IFNAME"),
        }))
    }
}

/// A group of processes that exchange tensors on the CPU and, if
/// [`with_nccl`](ProcessGroup::with_nccl) was called, on a GPU.
///
/// All processes must call the same operations in the same order.
pub struct ProcessGroup {
    raw: *mut RawGroup,
    rank: usize,
    size: usize,
    /// The GPU whose tensors are exchanged with NCCL.
    gpu: Option<usize>,
    monitor: WaitMonitor,
}

/// Returns whether this program was built with NCCL. Such a build requires the feature `nccl`,
/// NCCL's headers and a libtorch with CUDA.
///
/// ```
/// if !torch_ext::nccl_is_built() {
///     println!("gradients on a GPU are exchanged through host memory");
/// }
/// ```
pub fn nccl_is_built() -> bool {
    // SAFETY: no arguments.
    unsafe { ffi::polyqa_nccl_is_built() }
}

impl fmt::Debug for ProcessGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessGroup(rank {} of {})", self.rank, self.size)
    }
}

impl ProcessGroup {
    /// Connects to the other processes within `connect_timeout`. Each later operation has the
    /// timeout `timeout`. A process that waits for other processes for more than 10 seconds prints
    /// a message on standard error, and repeats the message every 10 minutes.
    ///
    /// # Errors
    /// [`Error::Distributed`] if another process does not connect in time, or the host, port or
    /// network interface cannot be used.
    pub fn connect(
        rendezvous: &Rendezvous,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Self> {
        // An empty name selects the interface of the host's address.
        let interface = rendezvous.interface.as_deref().unwrap_or("");
        check_interface(interface)?;
        let connect_error = |reason: &dyn fmt::Display| {
            let Rendezvous { rank, size, host, port, .. } = rendezvous;
            Error::Distributed(format!(
                "rank {rank} of {size} cannot connect to other ranks at {host}:{port}: {reason}"
            ))
        };
        let monitor =
            WaitMonitor::start(format!("rank {} of {}", rendezvous.rank, rendezvous.size));
        let c_string = |text: &str| {
            CString::new(text)
                .map_err(|_| Error::Distributed(format!("{text:?} contains a NUL character")))
        };
        let (host, prefix) = (c_string(&rendezvous.host)?, c_string(&rendezvous.prefix)?);
        let interface = c_string(interface)?;
        let as_c_int = |number: usize| {
            c_int::try_from(number)
                .map_err(|_| Error::Distributed(format!("{number} processes: too many")))
        };
        let (rank, size) = (as_c_int(rendezvous.rank)?, as_c_int(rendezvous.size)?);
        let listens = rendezvous.rank_0_listens && rendezvous.rank == 0;
        let mut raw = std::ptr::null_mut();
        // SAFETY: NUL-terminated strings that outlive the call; on success `raw` is a group that we
        // own.
        let connect = |error: *mut _| unsafe {
            ffi::polyqa_group_connect(
                host.as_ptr(),
                rendezvous.port,
                listens,
                !rendezvous.rank_0_listens,
                rank,
                size,
                milliseconds(connect_timeout),
                milliseconds(timeout),
                prefix.as_ptr(),
                interface.as_ptr(),
                &mut raw,
                error,
            )
        };
        let result = monitor.run_waiting(|| call(connect));
        result.map_err(|error| connect_error(&error))?;
        Ok(Self { raw, rank: rendezvous.rank, size: rendezvous.size, gpu: None, monitor })
    }

    /// Uses NCCL for tensors on the GPU with index `device`. Ranks on one machine must use
    /// different GPUs. All ranks must call this method, with the rendezvous and timeout that they
    /// passed to [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`Error::Distributed`] if the program was built without NCCL; see [`nccl_is_built`].
    pub fn with_nccl(
        mut self,
        rendezvous: &Rendezvous,
        device: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let device_index = c_int::try_from(device)
            .map_err(|_| Error::Distributed(format!("there is no GPU {device}")))?;
        let prefix = CString::new(rendezvous.prefix.as_str()).map_err(|_| {
            Error::Distributed(format!("{:?} contains a NUL character", rendezvous.prefix))
        })?;
        let timeout = milliseconds(timeout);
        // SAFETY: a live group, and a NUL-terminated string that outlives the call.
        call(|error| unsafe {
            ffi::polyqa_group_add_nccl(self.raw, device_index, timeout, prefix.as_ptr(), error)
        })
        .map_err(|error| Error::Distributed(format!("rank {}: NCCL: {error}", self.rank)))?;
        self.gpu = Some(device);
        Ok(self)
    }

    /// Returns the device to which tensors on `device` must be copied for an exchange: `device`
    /// itself if NCCL uses it, otherwise the CPU.
    pub fn exchange_device(&self, device: Device) -> Device {
        match (device, self.gpu) {
            (Device::Cuda(index), Some(gpu)) if index == gpu => device,
            _ => Device::Cpu,
        }
    }

    /// Returns the rank of this process, counted from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of processes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Runs a collective operation, and adds its name `operation` to the message of an error.
    fn run_collective<T>(&self, operation: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.monitor.run_waiting(body).map_err(|error| {
            let (rank, size) = (self.rank, self.size);
            Error::Distributed(format!(
                "rank {rank} of {size}: {operation} failed; another rank ended, or runs another \
                 operation: {error}"
            ))
        })
    }

    /// Sends `sent[k]` to rank k mod size, and receives `received[k]` from the same rank.
    ///
    /// A sent tensor and the tensor that receives it must have equal lengths and dtypes. All
    /// tensors must be contiguous, and on the CPU or on [`exchange_device`](Self::exchange_device).
    /// Entries for the calling rank are ignored.
    ///
    /// # Errors
    /// [`Error::ListLength`] if the lists differ in length, or their length is not a multiple of
    /// the number of ranks; [`Error::Distributed`] if a rank has ended or the operation times out.
    pub fn exchange(&self, sent: &[&Tensor], received: &[&Tensor]) -> Result<()> {
        let expected = received.len().next_multiple_of(self.size);
        for (list, entries) in [("sent", sent), ("received", received)] {
            if entries.len() != expected {
                return Err(Error::ListLength { list, expected, got: entries.len() });
            }
        }
        let (sent, into) = (to_pointers(sent), to_pointers(received));
        self.run_collective("exchange", || {
            // SAFETY: a live group, and lists of `expected` live tensors.
            call(|error| unsafe {
                ffi::polyqa_group_exchange(self.raw, sent.as_ptr(), into.as_ptr(), expected, error)
            })
        })
    }

    /// Overwrites `tensor`, a contiguous tensor on the CPU, with the tensor that rank `root`
    /// passes.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`].
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<()> {
        let root = c_int::try_from(root)
            .map_err(|_| Error::Distributed(format!("there is no rank {root}")))?;
        self.run_collective("broadcast", || {
            // SAFETY: a live group and tensor.
            call(|error| unsafe {
                ffi::polyqa_group_broadcast(self.raw, tensor.as_ptr(), root, error)
            })
        })
    }

    /// Returns the tensors that all ranks pass, stacked in order of rank, `[size, …]`, on the CPU.
    /// All ranks must pass a tensor of the same shape and dtype.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`].
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Tensor> {
        self.run_collective("all-gather", || {
            // SAFETY: a live group and tensor; on success `out` is a new tensor that we own.
            make_tensor(|out, error| unsafe {
                ffi::polyqa_group_all_gather(self.raw, tensor.as_ptr(), out, error)
            })
        })
    }

    /// Returns the bytes that each rank passes, in order of rank. The lengths may differ.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`].
    pub fn all_gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let length = to_i64(bytes.len());
        let lengths = Vec::<i64>::try_from(
            &self.all_gather(&Tensor::f_from_slice(&[length])?)?.f_view([-1])?,
        )?;
        let max_length = *lengths.iter().max().expect("a group has a process");
        let padded = Tensor::f_zeros([max_length], (Kind::Uint8, Device::Cpu))?;
        padded.f_narrow(0, 0, length)?.f_copy_(&Tensor::f_from_slice(bytes)?)?;
        let gathered = self.all_gather(&padded)?;
        (0..)
            .zip(lengths)
            .map(|(rank, length)| {
                Ok(Vec::try_from(&gathered.f_get(rank)?.f_narrow(0, 0, length)?)?)
            })
            .collect()
    }

    /// Gathers rows of integers on every rank. Row k of the result is row k of the list that rank k
    /// mod size passes. Row k of every other rank's list is ignored.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`]; [`Error::Distributed`] if another rank passes
    /// fewer rows than this rank.
    pub fn all_gather_rows(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
        let mut encoded = Vec::new();
        for row in rows.iter().skip(self.rank).step_by(self.size) {
            encoded.extend((row.len() as u64).to_le_bytes());
            encoded.extend(row.iter().flat_map(|element| element.to_le_bytes()));
        }
        let gathered = self.all_gather_bytes(&encoded)?;
        let mut remaining: Vec<&[u8]> = gathered.iter().map(Vec::as_slice).collect();
        let next_row = |index: usize| -> Option<Vec<u32>> {
            let bytes = &mut remaining[index % self.size];
            let (length, unread) = bytes.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?.checked_mul(4)?;
            let (elements, unread) = unread.split_at_checked(length)?;
            *bytes = unread;
            Some(
                elements
                    .chunks_exact(4)
                    .map(|bytes| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte)))
                    .collect(),
            )
        };
        let gathered: Option<Vec<_>> = (0..rows.len()).map(next_row).collect();
        gathered.ok_or_else(|| Error::Distributed("ranks have different numbers of rows".into()))
    }

    /// Returns the `bytes` that rank `root` passes, on every rank. The `bytes` that any other rank
    /// passes are ignored.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`].
    pub fn broadcast_bytes(&self, bytes: &[u8], root: usize) -> Result<Vec<u8>> {
        let length = Tensor::f_from_slice(&[to_i64(bytes.len())])?;
        self.broadcast(&length, root)?;
        let length = length.f_int64_value(&[0])?;
        let buffer = match self.rank == root {
            true => Tensor::f_from_slice(bytes)?,
            false => Tensor::f_zeros([length], (Kind::Uint8, Device::Cpu))?,
        };
        if length > 0 {
            self.broadcast(&buffer, root)?;
        }
        Ok(Vec::try_from(&buffer)?)
    }

    /// Returns the values that each rank passes, in order of rank. Values are sent as JSON.
    ///
    /// # Errors
    /// [`Error::Distributed`] if a value has no JSON form, or that of another rank is no `T`; the
    /// errors of [`ProcessGroup::exchange`].
    pub fn all_gather_json<T: DeserializeOwned>(&self, value: &impl Serialize) -> Result<Vec<T>> {
        let gathered = self.all_gather_bytes(&to_json(value)?)?;
        (0..).zip(&gathered).map(|(rank, bytes)| from_json(rank, bytes)).collect()
    }

    /// Returns the value that rank `root` passes, on every rank. The value is sent as JSON.
    ///
    /// # Errors
    /// The errors of [`all_gather_json`](Self::all_gather_json).
    ///
    /// # Panics
    /// If rank `root` passes `None`.
    pub fn broadcast_json<T: Serialize + DeserializeOwned>(
        &self,
        value: Option<T>,
        root: usize,
    ) -> Result<T> {
        let bytes = match &value {
            _ if self.rank != root => Vec::new(),
            Some(value) => to_json(value)?,
            None => panic!("rank {root} sends a value to the other ranks, but has none"),
        };
        let received = self.broadcast_bytes(&bytes, root)?;
        match value {
            Some(value) if self.rank == root => Ok(value),
            _ => from_json(root, &received),
        }
    }

    /// Gathers lists of tensors on every rank, on `device`. Rank k mod size provides entry k of
    /// `parts`; all other ranks must pass `None` as entry k.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`]; [`Error::Distributed`] for a dtype other than
    /// float32, bfloat16, float16 and float64, or if the rank of an entry passes `None`.
    pub fn all_gather_parts(
        &self,
        parts: Vec<Option<Vec<Tensor>>>,
        device: Device,
    ) -> Result<Vec<Vec<Tensor>>> {
        /// For each tensor of a part: its shape, and the index of its dtype in `KINDS`.
        type TensorSpecs = Option<Vec<(Vec<i64>, usize)>>;
        const KINDS: [Kind; 4] = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Double];
        let mut local_specs: Vec<TensorSpecs> = Vec::with_capacity(parts.len());
        for part in &parts {
            let Some(part) = part else {
                local_specs.push(None);
                continue;
            };
            let spec = |tensor: &Tensor| {
                let kind = tensor.f_kind()?;
                let kind_index = KINDS.iter().position(|supported| *supported == kind);
                let kind_index = kind_index.ok_or_else(|| {
                    Error::Distributed(format!("tensors of {kind:?} cannot be gathered"))
                })?;
                Ok((tensor.size(), kind_index))
            };
            local_specs.push(Some(part.iter().map(spec).collect::<Result<_>>()?));
        }
        let mut specs: Vec<Vec<TensorSpecs>> = self.all_gather_json(&local_specs)?;
        let mut gathered = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            let owner = index % self.size;
            let part = match part {
                Some(part) => part,
                None => {
                    let specs = specs[owner].get_mut(index).and_then(Option::take);
                    let specs = specs.ok_or_else(|| {
                        Error::Distributed(format!("rank {owner} does not provide part {index}"))
                    })?;
                    let empty_tensor = |(shape, kind): (Vec<i64>, usize)| {
                        Tensor::f_zeros(&shape, (KINDS[kind], device))
                    };
                    specs.into_iter().map(empty_tensor).collect::<std::result::Result<_, _>>()?
                }
            };
            for tensor in &part {
                self.copy_from(tensor, owner)?;
            }
            gathered.push(part);
        }
        Ok(gathered)
    }

    /// Overwrites `tensor`, of any dtype and on any device, with the tensor that rank `root`
    /// passes. All ranks must pass a tensor of the same shape and dtype.
    ///
    /// # Errors
    /// The errors of [`ProcessGroup::exchange`].
    pub fn copy_from(&self, tensor: &Tensor, root: usize) -> Result<()> {
        let sent = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        if sent.numel() == 0 {
            return Ok(());
        }
        let bytes = sent.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
        self.broadcast(&bytes, root)?;
        if self.rank != root {
            let received =
                bytes.f_view_dtype(tensor.f_kind()?)?.f_view(tensor.size().as_slice())?;
            tch::no_grad(|| tensor.shallow_clone().f_copy_(&received))?;
        }
        Ok(())
    }
}

/// Returns an error if the machine has no network interface `name`. On a system without
/// `/sys/class/net`, every name is accepted.
fn check_interface(name: &str) -> Result<()> {
    let interfaces = Path::new("/sys/class/net");
    if name.is_empty() || !interfaces.is_dir() || interfaces.join(name).exists() {
        return Ok(());
    }
    let reason = format!("GLOO_SOCKET_IFNAME = {name:?}: this machine has no such interface");
    Err(Error::Distributed(reason))
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: `connect` created the group, and only `drop` frees it.
        unsafe { ffi::polyqa_group_free(self.raw) }
    }
}

/// Returns a value that is sent to other ranks as JSON.
fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let problem = |error| Error::Distributed(format!("a value cannot be sent: {error}"));
    serde_json::to_vec(value).map_err(problem)
}

/// Returns a value of a rank. The ranks of a run can be programs of different versions.
fn from_json<T: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::Distributed(format!(
            "rank {rank} sent another value than this program expects; start all ranks with the \
             same program: {error}"
        ))
    })
}

/// Converts a timeout to milliseconds. A longer timeout than libtorch supports is no timeout.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
