"""Records in the forms in which Slurm and HTCondor write them."""

from __future__ import annotations

#: sacct -D -P -o JobID,JobName,User,Partition,NodeList,AllocCPUS,State,ExitCode,Submit,Start,End,MaxRSS
SACCT = """\
JobID|JobName|User|Partition|NodeList|AllocCPUS|State|ExitCode|Submit|Start|End|MaxRSS
123|align|ann|long|node[01-02]|64|COMPLETED|0:0|2024-05-01T10:00:00|2024-05-01T10:00:05|2024-05-01T11:00:00|
123.batch|batch|||node01|32|COMPLETED|0:0|2024-05-01T10:00:05|2024-05-01T10:00:05|2024-05-01T11:00:00|1.5G
123.0|align|||node[01-02]|64|COMPLETED|0:0|2024-05-01T10:00:06|2024-05-01T10:00:06|2024-05-01T11:00:00|7884K
124|a|b|ann|long|None assigned|0|CANCELLED by 1000|0:0|2024-05-01T10:00:00|None|2024-05-01T10:05:00|
125_1|sweep|bob|l40s|gl111|4|TIMEOUT|0:15|2024-05-01T10:00:00|2024-05-01T10:01:00|2024-05-01T12:01:00|
125_2|sweep|bob|l40s|gl112|4|RUNNING|0:0|2024-05-01T10:00:00|2024-05-01T10:01:00|Unknown|
125_[3-9%2]|sweep|bob|l40s|None assigned|0|PENDING|0:0|2024-05-01T10:00:00|Unknown|Unknown|
126|big|bob|b200|n7|8|NODE_FAIL|1:0|2024-05-01T10:00:00|2024-05-01T10:00:00|2024-05-01T10:30:00|
126|big|bob|b200|n8|8|OUT_OF_MEMORY|0:125|2024-05-01T10:30:00|2024-05-01T10:40:00|2024-05-01T10:50:00|
127|fails|bob|b200|n9|1|FAILED|3:0|2024-05-01T10:00:00|2024-05-01T10:00:00|2024-05-01T10:00:01|
128|waits|bob|b200|None assigned|0|PENDING|0:0|2024-05-01T10:00:00|Unknown|Unknown|
129|rests|bob|b200|n1|1|SUSPENDED|0:0|2024-05-01T10:00:00|2024-05-01T10:00:09|Unknown|
130|ends|bob|b200|n1|1|COMPLETING|0:0|2024-05-01T10:00:00|2024-05-01T10:00:09|Unknown|
131|odd|bob|b200|n1|1|EXPLODED|0:0|2024-05-01T10:00:00|2024-05-01T10:00:09|Unknown|
132|short|bob
"""

_USAGE = """\
\t\tUsr 0 00:00:07, Sys 0 00:00:01  -  Run Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage
\t\tUsr 0 00:00:07, Sys 0 00:00:01  -  Total Remote Usage
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Total Local Usage
\t999283  -  Run Bytes Sent By Job
\t655  -  Run Bytes Received By Job
\tPartitionable Resources :    Usage  Request Allocated
\t   Cpus                 :                 1         1
\t   Memory (MB)          :        4     8000      8000
"""

_HOST = "<128.104.58.123:9618?addrs=128.104.58.123-9618&alias=e1540.chtc.wisc.edu&noUDP&sock=startd_7130_2a59>"

#: One job after the other, with ISO times as HTCondor has written them since version 8.9.
LOG = f"""\
000 (236875.000.000) 2022-07-27 14:53:32 Job submitted from host: <128.104.100.148:9618?addrs=128.104.100.148-9618>
    DAG Node: Simple
...
040 (236875.000.000) 2022-07-27 14:55:17 Started transferring input files
\tTransferring to host: {_HOST}
...
040 (236875.000.000) 2022-07-27 14:55:17 Finished transferring input files
...
021 (236875.000.000) 2022-07-27 14:55:17 Message from starter on slot1_2@e1540:
\tPREPARE_JOB (prepare-hook) succeeded (reported status 000): Using Singularity image python312.sif
...
001 (236875.000.000) 2022-07-27 14:55:18 Job executing on host: {_HOST}
\tSlotName: slot1_4@e1540.chtc.wisc.edu
\tCpus = 1
...
006 (236875.000.000) 2022-07-27 14:55:22 Image size of job updated: 35
\t4  -  MemoryUsage of job (MB)
\t3456  -  ResidentSetSize of job (KB)
...
040 (236875.000.000) 2022-07-27 14:55:22 Started transferring output files
...
040 (236875.000.000) 2022-07-27 14:55:22 Finished transferring output files
...
005 (236875.000.000) 2022-07-27 14:55:22 Job terminated.
\t(1) Normal termination (return value 3)
{_USAGE}...
000 (236876.001.000) 2022-07-27 15:00:00 Job submitted from host: <128.104.100.148:9618>
...
001 (236876.001.000) 2022-07-27 15:00:10 Job executing on host: <10.128.72.93:9618?addrs=10.128.72.93-9618>
...
022 (236876.001.000) 2022-07-27 15:01:00 Job disconnected, attempting to reconnect
    Socket between submit and execute hosts closed unexpectedly
    Trying to reconnect to slot1_1@ap1 <10.128.72.93:9618>
...
024 (236876.001.000) 2022-07-27 15:21:00 Job reconnection failed
    Job not found at execution machine
    Can not reconnect to slot1_1@ap1, rescheduling job
...
004 (236876.001.000) 2022-07-27 15:21:00 Job was evicted. Code 1022 Subcode 0
\t(0) CPU times
{_USAGE}...
012 (236876.001.000) 2022-07-27 15:22:00 Job was held.
\tJob held by SYSTEM_PERIODIC_HOLD due to memory usage exceeded.
\tCode 26 Subcode 4
...
013 (236876.001.000) 2022-07-27 15:23:00 Job was released.
\tvia condor_release (by user ann)
...
009 (236876.001.000) 2022-07-27 15:24:00 Job was aborted by the user.
\tvia condor_rm (by user ann)
...
"""

#: The older form, without years, and events of other kinds.
OLD_LOG = f"""\
035 (018.-01.000) 07/17 09:15:50 Cluster submitted from host: <10.0.1.2:49039>
...
000 (018.000.000) 07/17 09:15:52 Job submitted from host: <10.0.1.2:49039>
...
001 (018.000.000) 07/17 09:16:02 Job executing on host: <10.0.2.4:37941>
...
010 (018.000.000) 07/17 09:16:10 Job was suspended.
\tNumber of processes actually suspended: 1
...
011 (018.000.000) 07/17 09:16:20 Job was unsuspended.
...
007 (018.000.000) 07/17 09:16:30 Shadow exception!
\tError from slot1@node: Failed to open '/home/ann/in.dat' as standard input
\t0  -  Run Bytes Sent By Job
...
001 (018.000.000) 07/17 09:17:02 Job executing on host: <10.0.2.5:37941>
...
099 (018.000.000) 07/17 09:17:03 Something new
...
this is no event
...
005 (018.000.000) 07/17 09:18:02 Job terminated.
\t(0) Abnormal termination (signal 9)
\t(0) No core file
{_USAGE}...
001 (019.000.000) 07/17 09:18:03 Job exec"""
