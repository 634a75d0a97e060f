"""The supervisor: the one process that is always there, and that touches no mail.

It holds what must outlive a worker: the listening sockets (so that clients who connect while a worker is being replaced
wait in the backlog instead of being refused), certificates and keys (which workers have no right to read), the memory
file in which workers count connections, the eventfd by which SMTP workers wake the queue manager, the lifeline whose
end tells the children that the supervisor is gone, and the lock of the spool. It starts the other processes,
starts them again when they die, replaces them on HUP, and stops them on TERM and INT. It is a plain loop around
`poll`: signal handlers only enqueue, children are watched through pidfds, and whatever takes several steps (starting,
reloading, draining) is a generator that the loop resumes after each event.

    main       the loop, the sequences, signals, exit codes
    family     all children: slots, restarts, kills
    child      one child process: start, ready, signals, end
    backoff    how long to wait before a dead child is started again
    generation a configuration at work
    listeners  the listening sockets
    orders     watching for an order to drain
    certificates  the files of [tls], and the memory file that workers get them in
    folder     the spool's folder: layout, owner, lock

Sequences

    start      queue manager, delivery workers, SMTP workers, all at once. One that dies before it is ready ends the
               start with its exit code; later on, a dead child is started again after 0, 1, 2, 4 ... 60 s.
    HUP        the configuration is read and checked; when it is wrong, everything is logged and nothing changes. Else
               new SMTP and delivery workers are started beside the old ones; only when all of them are ready the old
               ones are told to drain, and when the old delivery workers are gone the queue manager is replaced (the new
               one waits for the lock of the old one). A new worker that does not get ready undoes the reload.
    files      every 10 s: certificates that changed are given to the workers, without any of the above.
    order      every second: an order to drain (`mta.drain`) that is new, changed or taken back is worked as a reload,
               with the configuration that it makes of the one that was loaded last. Where that has no listener, the
               queue manager is replaced only when the last SMTP worker has ended; when it says that nothing is left,
               all end as after TERM.
    TERM       SMTP workers drain; then delivery workers; then the queue manager. Each step has a bound, then KILL.
    INT        all stop at once; what is left after 5 s is killed. A second INT kills at once.

When the supervisor itself is killed, the children see the end of the lifeline and drain by themselves; a new supervisor
can be started meanwhile, since only the supervisor holds `<spool>/lock` and every other claim in the spool either waits
(the queue manager's) or has room for both (shards).

Known limits: the spool folder and the user cannot be changed by a reload. An address that a reload takes away loses
those clients that were not accepted yet.
"""
