//! Collective operations between two processes of this test program.
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, Rendezvous};

/// Returns a free port.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts the ignored test `name` of this file in two processes, one per rank.
fn start_ranks(name: &str) -> Vec<Child> {
    let port = free_port().to_string();
    let start_rank = |rank: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("distributed::{name}"), "--ignored", "--nocapture"]);
        command.envs([("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port)]);
        command.env("RANK", rank.to_string()).env("OMP_NUM_THREADS", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..2).map(start_rank).collect()
}

fn connect_group(timeout_seconds: u64) -> ProcessGroup {
    let rendezvous = Rendezvous::from_env().unwrap().unwrap();
    let timeout = Duration::from_secs(timeout_seconds);
    ProcessGroup::connect(&rendezvous, timeout, timeout).unwrap()
}

#[test]
#[ignore = "started by another test"]
fn run_all_operations() {
    let group = connect_group(60);
    let rank = i64::try_from(group.rank()).unwrap();
    for round in 0..20 {
        // Rank a sends b + 2 elements to rank b.
        let elements = |from: i64, to: i64| {
            let first = 1000 * from + 100 * to + round;
            Tensor::arange_start(first, first + to + 2, (Kind::Int64, Device::Cpu))
        };
        let sent = [0, 1].map(|to| elements(rank, to));
        let buffer = Tensor::zeros([8], (Kind::Int64, Device::Cpu));
        let buffers = [0, 1].map(|from| buffer.narrow(0, 4 * from, rank + 2));
        let scalars = [0, 1].map(|_| Tensor::from(rank));
        let received = [0, 1].map(|_| Tensor::from(-1i64));
        let [sent, buffers] = [[&sent, &scalars], [&buffers, &received]]
            .map(|lists| lists.map(|list| list.iter()).into_iter().flatten().collect::<Vec<_>>());
        group.exchange(&sent, &buffers).unwrap();
        let [local, remote] =
            [rank, 1 - rank].map(|from| received[usize::try_from(from).unwrap()].int64_value(&[]));
        assert_eq!((local, remote), (-1, 1 - rank));
        let [local, remote] = [rank, 1 - rank].map(|from| buffer.narrow(0, 4 * from, rank + 2));
        assert_eq!(remote, elements(1 - rank, rank), "round {round}");
        assert_eq!(local.abs().max().int64_value(&[]), 0);
    }
    let (empty, scalar) = (Tensor::zeros([0], (Kind::Float, Device::Cpu)), Tensor::from(1f32));
    group.exchange(&[&empty; 2], &[&empty; 2]).unwrap();
    group.exchange(&[], &[]).unwrap();
    let error = group.exchange(&[&scalar], &[&scalar; 2]).unwrap_err().to_string();
    assert!(error.contains("sent"), "{error}");
    let gathered = group.all_gather(&Tensor::from_slice(&[rank, 10 + rank])).unwrap();
    assert_eq!(gathered, Tensor::from_slice(&[0i64, 10, 1, 11]).view([2, 2]));
    let sent = Tensor::from_slice(&[rank as f64 + 5.0]);
    group.broadcast(&sent, 1).unwrap();
    assert_eq!(sent.double_value(&[0]), 6.0);
    let texts = [&b"one"[..], b"", b"seven"];
    for pair in texts.windows(2) {
        let text = pair[group.rank()];
        assert_eq!(group.all_gather_bytes(text).unwrap(), pair);
        let ranks: Vec<usize> = group.all_gather_json(&group.rank()).unwrap();
        assert_eq!(ranks, [0, 1]);
        let from_rank_1 = (group.rank() == 1).then(|| "of rank 1".to_owned());
        assert_eq!(group.broadcast_json(from_rank_1, 1).unwrap(), "of rank 1");
        let error = group.all_gather_json::<bool>(&group.rank()).unwrap_err().to_string();
        assert!(error.contains("rank 0 sent another value than this program expects"), "{error}");
    }
    let rows = [vec![7, u32::MAX], vec![], vec![1 << 24, 0, 5], vec![9], vec![]];
    let local_row = |(index, row): (usize, &Vec<u32>)| {
        if index % 2 == group.rank() { row.clone() } else { vec![3] }
    };
    let local_rows: Vec<_> = rows.iter().enumerate().map(local_row).collect();
    assert_eq!(group.all_gather_rows(&local_rows).unwrap(), rows);
    // Rank 1 must provide row 1, but passes only row 0.
    let too_few = local_rows.get(..if group.rank() == 0 { 3 } else { 1 }).unwrap();
    assert_eq!(group.all_gather_rows(too_few).is_err(), group.rank() == 0);
}

#[test]
#[ignore = "started by another test"]
fn leave_early() {
    let group = connect_group(5);
    if group.rank() == 1 {
        return;
    }
    let tensor = Tensor::from_slice(&[1f32]);
    let error = group.exchange(&[&tensor; 2], &[&tensor; 2]).unwrap_err().to_string();
    assert!(error.contains("rank 0 of 2: exchange failed; another rank ended"), "{error}");
}

fn expect_success(name: &str) {
    for (rank, child) in start_ranks(name).into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rank {rank}:\n{text}\n{errors}");
        assert!(text.contains("1 passed"), "{text}");
    }
}

#[test]
fn two_processes_exchange_tensors() {
    expect_success("run_all_operations");
}

#[test]
fn an_ended_rank_is_an_error_that_names_the_operation() {
    expect_success("leave_early");
}

#[test]
fn errors_name_an_unknown_interface() {
    if !std::path::Path::new("/sys/class/net").is_dir() {
        println!("skipped: this system does not list its interfaces");
        return;
    }
    let rendezvous = Rendezvous { interface: Some("nope0".into()), ..single_process() };
    let second = Duration::from_secs(1);
    let error = ProcessGroup::connect(&rendezvous, second, second).unwrap_err().to_string();
    assert!(error.contains("GLOO_SOCKET_IFNAME = \"nope0\""), "{error}");
}

#[test]
fn errors_name_invalid_variables() {
    let error = |set: &[(&str, &str)]| {
        let get = |name: &str| {
            set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        Rendezvous::from_variables(get).unwrap_err().to_string()
    };
    let (size, rank, address) = (("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "a"));
    for (variables, message) in [
        (&[size][..], "RANK is not set"),
        (&[("WORLD_SIZE", "two")], "WORLD_SIZE = \"two\""),
        (&[size, ("RANK", "2")], "RANK = 2 is not below"),
        (&[size, rank], "MASTER_ADDR is not set"),
        (&[size, rank, address, ("MASTER_PORT", "70000")], "MASTER_PORT = 70000"),
        (&[size, rank, address, ("MASTER_PORT", "0")], "MASTER_PORT = 0 is not a port from 1"),
        (&[("WORLD_SIZE", "2147483647"), rank, address], "2147483647 is more than 65536"),
    ] {
        let error = error(variables);
        assert!(error.contains(message), "{error}");
    }
}

/// Rendezvous of a group with one process.
fn single_process() -> Rendezvous {
    Rendezvous {
        rank: 0,
        size: 1,
        local_rank: 0,
        local_size: 1,
        host: "127.0.0.1".into(),
        port: free_port(),
        rank_0_listens: true,
        prefix: "one".into(),
        interface: None,
    }
}

/// Connects a group with one process, with NCCL if available.
#[test]
#[ignore = "started by another test"]
fn one_gpu() {
    let rendezvous = single_process();
    let minute = Duration::from_secs(60);
    let group = ProcessGroup::connect(&rendezvous, minute, minute).unwrap();
    let gpu = torch_ext::resolve_device(torch_ext::DeviceChoice::Auto).unwrap();
    let group = match group.with_nccl(&rendezvous, 0, minute) {
        Ok(group) => group,
        Err(error) if torch_ext::nccl_is_built() => {
            assert_eq!(gpu, Device::Cpu, "{error}");
            assert!(error.to_string().contains("GPU"), "{error}");
            return;
        }
        Err(error) => {
            assert!(error.to_string().contains("without the feature `nccl`"), "{error}");
            return;
        }
    };
    assert_eq!(group.exchange_device(Device::Cpu), Device::Cpu);
    assert_eq!(group.exchange_device(gpu), gpu);
    let tensor = Tensor::arange(1000, (Kind::Float, gpu));
    group.exchange(&[&tensor], &[&tensor]).unwrap();
    assert_eq!(tensor, Tensor::arange(1000, (Kind::Float, gpu)));
}

#[test]
fn nccl_exchanges_gpu_tensors_or_reports_that_it_is_not_built() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "distributed::one_gpu", "--ignored"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
